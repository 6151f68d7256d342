/**
 * Draws the pictures of the pages in docs/images anew, from complete runs that are named, the last one
 * for the report, or from two that it trains:
 *
 *     deno run --allow-read --allow-write --allow-net=127.0.0.1 --allow-run=deno,chromium \
 *       --allow-env --allow-sys tests/pages/screenshots.ts [RUN...]
 */
import { WatchedBrowser } from "./chromium.ts";
import { answers, freePort, started } from "./tasks.ts";

const images = "docs/images";
const model = [
  "--preset",
  "tiny",
  "--dataset",
  "shapes",
  "--backend",
  "wasm",
  "--transformer-layers",
  "2",
  "--limit",
  "600",
];
const runs = [
  { name: "plain", options: ["--epochs", "6"] },
  { name: "augmented", options: ["--epochs", "8", "--augment", "flip|crop(4)|erase(0.25)"] },
];

const folder = await Deno.makeTempDir();
await using browser = await WatchedBrowser.start();
try {
  const paths = Deno.args.length > 0 ? Deno.args : await train();
  const last = await Deno.realPath(paths.at(-1)!);
  await shoot("report.png", `file://${last}/report.html`, { width: 1200, height: 1500 });
  const port = freePort();
  const server = started("serve", [...paths, "--port", String(port)], folder);
  try {
    await answers(`http://127.0.0.1:${port}/`);
    await shoot("live.png", `http://127.0.0.1:${port}/`, { width: 1200, height: 1250 });
  } finally {
    server.kill("SIGKILL");
    await server.status;
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}

/** Trains; the folders of the runs. */
async function train(): Promise<string[]> {
  const paths: string[] = [];
  for (const { name, options } of runs) {
    const path = `${folder}/${name}`;
    const args = [...model, ...options, "--batch-size", "32", "--quiet", "--out", path];
    const { code } = await started("train", args, folder).status;
    if (code !== 0) throw new Error(`The run ${name} has failed`);
    paths.push(path);
  }
  return paths;
}

/** Takes a picture of a page's beginning. */
async function shoot(
  name: string,
  url: string,
  viewport: { width: number; height: number },
): Promise<void> {
  const { page } = await browser.open(url, { viewport, colorScheme: "light" });
  await page.goto(url);
  // What comes by events is drawn a moment later.
  await page.waitForTimeout(2000);
  await page.screenshot({ path: `${images}/${name}` });
  await page.context().close();
}
