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
import { projectRoot, runTaskWell } from "../tasks/run_task.ts";

const [run] = Deno.args;
if (!run) throw new Error("Name the run whose page is to be shown: runs/NAME");

/** An image of the test split, each pixel a square, so that it can be seen. */
function enlarged(index: number, times: number): Uint8Array {
  const { test, width, height } = createShapes({ train: 1, test: index + 1 });
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
  const [picture, site] = [`${folder}/picture.png`, `${folder}/page`];
  await Deno.writeFile(picture, enlarged(3, 12));
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
