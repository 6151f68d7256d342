/**
 * The pictures of pages in the README, as a real Chromium draws them. After a change of a page:
 *
 * deno task train --preset tiny --dataset shapes --epochs 10 --out runs/shapes
 * deno run --allow-read --allow-write --allow-net=127.0.0.1 --allow-run=deno,chromium --allow-env \
 *   --allow-sys tests/browser/screenshots.ts runs/shapes
 */
import { createShapes } from "../../lib/data/shapes.ts";
import { encodePng } from "../../lib/report/encode_png.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { withChromium, withPage, withServer } from "../chromium.ts";
import { jsonLines, projectRoot, runTaskWell } from "../tasks/run_task.ts";

const [run] = Deno.args;
if (!run) throw new Error("Name the run whose page is to be shown: runs/NAME");

/** Of the first images, the one that the model is surest of and right about. */
const count = 24;
const { test, width, height, classNames } = createShapes({ train: 1, test: count });

/** An image of the test split, each pixel a square, so that it can be seen. */
function enlarged(index: number, times: number): Uint8Array {
  const from = test.images.subarray(index * width * height * 3);
  const data = new Uint8Array(width * height * times ** 2 * 3);
  for (let i = 0; i < data.length; i++) {
    const [pixel, channel] = [Math.floor(i / 3), i % 3];
    const x = Math.floor(pixel % (width * times) / times);
    const y = Math.floor(pixel / (width * times) / times);
    data[i] = from[(y * width + x) * 3 + channel]!;
  }
  return encodePng({ width: width * times, height: height * times, channels: 3, data });
}

const images = `${projectRoot}docs/images`;
const views = [
  { name: "page", colorScheme: "light", viewport: { width: 900, height: 560 } },
  { name: "page_phone", colorScheme: "dark", viewport: { width: 360, height: 740 } },
] as const;

await inFolder(async (folder) => {
  const pictures = Array.from({ length: count }, (_, i) => `${folder}/${i}.png`);
  for (const [i, path] of pictures.entries()) await Deno.writeFile(path, enlarged(i, 12));
  const [picture] = jsonLines(await runTaskWell("predict", [run, ...pictures, "--json"]))
    .map(({ image, predictions: [{ className, probability }] }, i) => {
      return { image, sure: className === classNames[test.labels[i]!] ? probability : 0 };
    })
    .sort((a, b) => b.sure - a.sure).map(({ image }) => image);
  const site = `${folder}/page`;
  await runTaskWell("export", [run, "--format", "web", "--out", site]);
  await withServer(site, (origin) =>
    withChromium(async (browser) => {
      for (const { name, ...options } of views) {
        await withPage(browser, `${origin}/?backend=wasm`, async ({ page }) => {
          await page.getByText("Works without a network from now on.").waitFor();
          await page.locator("#file").setInputFiles(picture);
          await page.getByRole("status").filter({ hasText: /; in / }).waitFor();
          await page.screenshot({ path: `${images}/${name}.png`, fullPage: true });
        }, options);
      }
    }));
});
