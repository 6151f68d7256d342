/// <reference lib="dom" />
/** The page of `deno task export --format web` in a browser, beside `deno task predict`. */
import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";
import axeOfNpm from "axe-core";
import type { Page } from "playwright-core";
import { withChromium, withPage, withServer } from "../chromium.ts";
import { hostileModel, hostileNames, writeRun } from "../export/runs.ts";
import { jsonLines, runTaskWell } from "../tasks/run_task.ts";

/** Of kinds that Chromium and ImageMagick decode to the same pixels, or nearly so; one is large. */
const pictures = [
  ...["plain.png", "rgba.png", "palette-transparent.png", "exif-orientation-6.jpg", "cmyk.jpg"],
  ...["subsampled.jpg", "progressive.jpg", "lossy.webp", "plain.bmp", "still.gif"],
  "../../../docs/images/patches.png",
];
const folderOfPictures = fromFileUrl(new URL("../data/pictures/", import.meta.url));

const folder = await Deno.makeTempDir({ prefix: "deno_vit_" });
const site = `${folder}/page`;
let run = "";
Deno.test.beforeAll(async () => {
  run = await writeRun(`${folder}/my <b>run`, hostileModel);
  await runTaskWell("export", [run, "--format", "web", "--out", site]);
});
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

interface Guess {
  className: string;
  probability: number;
}

/** Drops a file on the page, as a hand would. */
async function drop(page: Page, path: string): Promise<void> {
  const bytes = [...await Deno.readFile(path)];
  const name = path.slice(path.lastIndexOf("/") + 1);
  const dataTransfer = await page.evaluateHandle(({ bytes, name }) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(bytes)], name));
    return transfer;
  }, { bytes, name });
  for (const type of ["dragenter", "dragover", "drop"]) {
    await page.dispatchEvent("#drop", type, { dataTransfer });
  }
}

const status = (page: Page) => page.getByRole("status");

/** Waits until the page says so. */
async function says(page: Page, text: RegExp): Promise<string> {
  await status(page).filter({ hasText: text }).waitFor();
  return await status(page).textContent() ?? "";
}

const ready = (page: Page) => says(page, /^Ready for a picture/);
const answered = (page: Page) => says(page, /; in [\d.]+ m?s on /);

async function guessesOn(page: Page): Promise<Guess[]> {
  return await page.locator("#classes li").evaluateAll((items) =>
    items.map((item) => ({
      className: item.querySelector(".name")!.textContent!,
      probability: parseFloat(item.querySelector(".share")!.textContent!) / 100,
    }))
  );
}

for (
  const [backend, label] of [["webgpu", "WebGPU"], ["webgl", "WebGL"], ["wasm", "WebAssembly"]]
) {
  Deno.test(`a picture that is dropped gets the answer of predict, on ${label}`, async () => {
    const paths = pictures.map((name) => `${folderOfPictures}${name}`);
    const lines = jsonLines(await runTaskWell("predict", [run, ...paths, "--json"]));
    await withServer(
      site,
      (origin) =>
        withChromium((browser) =>
          withPage(browser, `${origin}/?backend=${backend}`, async ({ page }) => {
            await ready(page);
            for (const [i, path] of paths.entries()) {
              await page.evaluate(() => document.querySelector("[role=status]")!.textContent = "");
              await drop(page, path);
              assertMatch(await answered(page), new RegExp(`on ${label}$`));
              const expected: Guess[] = lines[i].predictions;
              const found = await guessesOn(page);
              const names = (guesses: Guess[]) => guesses.map(({ className }) => className);
              assertEquals(names(found), names(expected), path);
              found.forEach(({ probability }, place) => {
                assertAlmostEquals(probability, expected[place]!.probability, 1e-3, path);
              });
              const widths = await page.locator("#classes .bar").evaluateAll((bars) =>
                bars.map((bar) => bar.clientWidth / bar.parentElement!.clientWidth)
              );
              widths.forEach((width, place) => {
                assertAlmostEquals(width, expected[place]!.probability, 0.01, `bar ${place}`);
              });
            }
          })
        ),
    );
  });
}

Deno.test("names from outside are text: those of classes, of the run and of files", () =>
  withServer(
    site,
    (origin) =>
      withChromium((browser) =>
        withPage(browser, `${origin}/?backend=cpu`, async ({ page }) => {
          const title = "my <b>run: what is in the picture?";
          await ready(page);
          assertEquals(await page.title(), title);
          const bad = `${folder}/<img onerror=x>.png`;
          await Deno.writeTextFile(bad, "no picture");
          await drop(page, bad);
          await says(page, /is no picture that this browser can read\.$/);
          assertEquals(await page.locator("#status *").count(), 0);
          await drop(page, `${folderOfPictures}plain.png`);
          await answered(page);
          const found = await guessesOn(page);
          assertEquals(found.length, 5);
          for (const { className } of found) assert(hostileNames.includes(className), className);
          assertEquals(await page.locator("#classes :is(script, img, b)").count(), 0);
          assertEquals(await page.title(), title);
        })
      ),
  ));

Deno.test("after the first load the page works without a network", () =>
  withChromium(async (browser) => {
    const closing = new AbortController();
    const { promise: origin, resolve } = Promise.withResolvers<string>();
    const served = withServer(site, async (origin) => {
      resolve(origin);
      await new Promise((done) => closing.signal.addEventListener("abort", done));
    });
    await withPage(browser, `${await origin}/?backend=wasm`, async ({ page }) => {
      await page.getByText("Works without a network from now on.").waitFor();
      await ready(page);
      closing.abort();
      await served;
      await page.reload();
      await ready(page);
      await drop(page, `${folderOfPictures}plain.png`);
      await answered(page);
    });
  }));

Deno.test("the camera's picture is classified, by the keyboard alone", () =>
  withServer(
    site,
    (origin) =>
      withChromium((browser) =>
        withPage(browser, `${origin}/?backend=wasm`, async ({ page }, context) => {
          await context.grantPermissions(["camera"]);
          // Early, because what listens is told to the browser first.
          const chooser = page.waitForEvent("filechooser");
          await ready(page);
          const focused = () => page.evaluate(() => document.activeElement!.id);
          await page.keyboard.press("Tab");
          assertEquals(await focused(), "choose");
          await page.keyboard.press("Enter");
          await chooser;
          await page.keyboard.press("Tab");
          assertEquals(await focused(), "camera");
          await page.keyboard.press("Enter");
          await page.getByRole("dialog").waitFor();
          assertEquals(await focused(), "take");
          await page.keyboard.press("Enter");
          await answered(page);
          await page.getByRole("dialog").waitFor({ state: "hidden" });
          await page.keyboard.press("Tab");
          assertEquals(await focused(), "attention");
          const label = await page.getByRole("img").getAttribute("aria-label");
          assertMatch(label!, /^The picture; the model looks most (in the middle|at the )/);
        })
      ),
  ));

for (const colorScheme of ["light", "dark"] as const) {
  for (
    const [device, viewport] of [
      ["a phone", { width: 360, height: 740 }],
      ["a screen", { width: 1280, height: 800 }],
    ] as const
  ) {
    Deno.test(`axe finds no fault on ${device} in ${colorScheme} mode, and nothing overflows`, () =>
      withServer(
        site,
        (origin) =>
          withChromium((browser) =>
            withPage(browser, `${origin}/?backend=cpu`, async ({ page }) => {
              await ready(page);
              await assertAccessible(page);
              await drop(page, `${folderOfPictures}plain.png`);
              await answered(page);
              await assertAccessible(page);
              const [content, window] = await page.evaluate(() => {
                return [document.documentElement.scrollWidth, innerWidth];
              });
              assert(content <= window, `${content} pixels wide on a screen of ${window}`);
            }, { viewport, colorScheme })
          ),
      ));
  }
}

async function assertAccessible(page: Page): Promise<void> {
  await page.evaluate(axeOfNpm.source);
  const faults = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: typeof axeOfNpm };
    const { violations } = await axe.run();
    return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes[0]?.html}`);
  });
  assertEquals(faults, []);
}
