/** The live page in a real browser, while a run trains and after its server was killed. */
/// <reference lib="dom" />
import { assert, assertEquals } from "@std/assert";
import { inFolder } from "../data/fixtures.ts";
import { reportedRun, smallRun } from "../tasks/run_task.ts";
import { accessibilityFaults, ignoreChromium, WatchedBrowser } from "./chromium.ts";
import { answers, freePort, started } from "./tasks.ts";

const ignore = ignoreChromium;

/** A chart, as it is for those who cannot see it. */
const chartLabel = '#charts canvas[role="img"]';

Deno.test({
  name: "curves grow while a run trains, and go on after the server was killed and started again",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const port = freePort();
      const url = `http://127.0.0.1:${port}/`;
      const run = `${folder}/<b>run`;
      // The page may come before the run.
      await Deno.mkdir(run);
      const train = started("train", [...smallRun, "--epochs", "500", "--out", run], folder);
      let server = started("serve", [run, "--port", String(port)], folder);
      try {
        await answers(url);
        await using browser = await WatchedBrowser.start();
        const { page, errors, strangers } = await browser.open(url);
        await page.goto(url);
        const step = async () => {
          const text = await page.locator(".run dd").nth(1).textContent({ timeout: 60_000 });
          return Number(/^(\d+) of/.exec(text ?? "")?.[1] ?? 0);
        };
        const grows = async (from: number) => {
          for (let tries = 0; tries < 300; tries++) {
            const now = await step();
            if (now > from) return now;
            await page.waitForTimeout(100);
          }
          throw new Error(`no step after ${from}`);
        };
        await page.locator(chartLabel).first().waitFor({ timeout: 60_000 });
        const before = await grows(await step());
        const label = await page.locator(chartLabel).first().getAttribute("aria-label");
        assert(/^Loss: .*<b>run, train \d/.test(label!), label!);
        assertEquals(await page.locator(".run h2").textContent(), " <b>run");
        const picture = page.locator("#strips img");
        const width = await picture.evaluate((img) => (img as HTMLImageElement).naturalWidth);
        assert(width > 100, `${width} pixels`);
        assertEquals(await accessibilityFaults(page), []);
        assertEquals(errors, []);

        server.kill("SIGKILL");
        await server.status;
        await page.getByText("The server is gone").waitFor({ timeout: 20_000 });
        const lost = errors.splice(0);
        assert(lost.every((text) => /Failed to load resource|ERR_/.test(text)), lost.join("\n"));
        server = started("serve", [run, "--port", String(port)], folder);
        await page.getByText("Connected", { exact: true }).waitFor({ timeout: 20_000 });
        assert(await grows(before) > before);

        // The page outlives the trainer.
        train.kill("SIGTERM");
        await train.status;
        await page.getByText(/Stopped at step \d+; go on with --resume/).waitFor({
          timeout: 20_000,
        });
        assertEquals(strangers, []);
        const late = errors.filter((text) => !/Failed to load resource|ERR_/.test(text));
        assertEquals(late, []);
      } finally {
        for (const child of [train, server]) {
          try {
            child.kill("SIGKILL");
          } catch {
            // It has ended.
          }
          await child.status;
        }
      }
    }),
});

Deno.test({
  name: "runs are overlaid and their configurations compared; in the dark and on a phone too",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const rates = ["0.001", "0.002"];
      for (const [i, rate] of rates.entries()) {
        const args = [
          ...smallRun,
          "--epochs",
          "2",
          "--learning-rate",
          rate,
          "--out",
          `${folder}/${i}`,
        ];
        await started("train", args, folder).status;
      }
      const port = freePort();
      const url = `http://127.0.0.1:${port}/`;
      const server = started(
        "serve",
        [`${folder}/0`, `${folder}/1`, "--port", String(port)],
        folder,
      );
      try {
        await answers(url);
        await using browser = await WatchedBrowser.start();
        for (
          const options of [{}, {
            colorScheme: "dark",
            viewport: { width: 390, height: 800 },
          }] as const
        ) {
          const { page, errors, strangers } = await browser.open(url, options);
          await page.goto(url);
          await page.locator("#configurations tbody tr").first().waitFor();
          const rows = await page.locator("#configurations tbody tr").allTextContents();
          assertEquals(rows, ["learningRate0.0010.002"]);
          await page.getByLabel("all fields").check();
          await page.getByText("projectionDim").waitFor();
          const label = () => page.locator(chartLabel).first().getAttribute("aria-label");
          assert(/0, train .*; 1, train /.test((await label())!), (await label())!);
          await page.locator("#run-1").uncheck();
          await page.waitForTimeout(600);
          assert(!/1, train /.test((await label())!));
          const wide = await page.evaluate(() =>
            document.documentElement.scrollWidth - document.documentElement.clientWidth
          );
          assert(wide <= 0, `the page is ${wide} pixels too wide`);
          assertEquals(await accessibilityFaults(page), []);
          assertEquals([...errors, ...strangers], []);
        }
      } finally {
        server.kill("SIGKILL");
        await server.status;
      }
    }),
});

Deno.test({
  name: "a report opens from file://, without a word on the console and without a request",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      await started("train", [...reportedRun, "--out", `${folder}/a`], folder).status;
      await using browser = await WatchedBrowser.start();
      for (const colorScheme of ["light", "dark"] as const) {
        const url = `file://${folder}/a/report.html`;
        const { page, errors, strangers } = await browser.open(url, { colorScheme });
        await page.goto(url);
        assertEquals(await page.locator("h1").textContent(), "a");
        const broken = await page.evaluate(() =>
          [...document.images].filter(({ naturalWidth }) => naturalWidth === 0).length
        );
        assertEquals(broken, 0);
        assertEquals(await accessibilityFaults(page), []);
        assertEquals([...errors, ...strangers], []);
      }
    }),
});
