/**
 * What the live page takes of a training's speed, measured within one run:
 *
 *     deno run --allow-read --allow-write --allow-net=127.0.0.1 --allow-run=deno,/usr/bin/chromium \
 *       --allow-env --allow-sys bench/live_page.ts --rounds 6 --backend webgpu
 *
 * A run trains with `--serve`; three pages are open for some seconds, and closed for as many, in turn.
 * A server without pages does nothing, so epochs without pages are those of a run without `--serve`.
 * The browser computes on the same processors, which a page on another machine would not.
 */
import { readHistory } from "../lib/checkpoint/history.ts";
import { runFolder } from "../lib/checkpoint/run_folder.ts";
import { newCommand, runTask } from "../tasks/cli.ts";
import { WatchedBrowser } from "../tests/pages/chromium.ts";
import { median } from "./statistics.ts";

const pages = 3;

await runTask(async () => {
  const command = newCommand("bench/live_page", "Measures what the live page takes of the speed.")
    .option("--rounds <n>", "how often the pages are opened", "6")
    .option("--seconds <n>", "how long they are open, and closed", "10")
    .option("--backend <name>", "webgpu, wasm or cpu", "webgpu")
    .option("--images <n>", "of an epoch", "200")
    .option("--port <number>", "of the page", "8431");
  command.parse(Deno.args, { from: "user" });
  const { rounds, seconds, backend, images, port } = command.opts();
  const folder = await Deno.makeTempDir();
  const run = runFolder(`${folder}/run`);
  const model = ["--preset", "tiny", "--dataset", "shapes", "--transformer-layers", "1"];
  const size = ["--limit", images, "--batch-size", "32", "--validation-split", "0"];
  const training = new Deno.Command("deno", {
    args: [
      ...["run", "--allow-read", `--allow-write=${folder},.cache`, "--allow-net=127.0.0.1"],
      ...["--allow-env=XDG_RUNTIME_DIR", "tasks/train.ts", ...model, ...size],
      ...["--epochs", "99999", "--backend", backend, "--out", run.path, "--serve", port, "--quiet"],
    ],
    ...{ stdin: "null", stdout: "null", stderr: "null" },
  }).spawn();
  try {
    await using browser = await WatchedBrowser.start();
    const url = `http://127.0.0.1:${port}/`;
    while ((await epochs(run.history)).length < 3) await sleep(200);
    const sides: Record<"closed" | "open", number[]> = { closed: [], open: [] };
    for (let round = 0; round < Number(rounds); round++) {
      for (const side of ["closed", "open"] as const) {
        const open = side === "open"
          ? await Promise.all(Array.from({ length: pages }, () => browser.open(url)))
          : [];
        for (const { page } of open) await page.goto(url);
        // Neither the loading nor the epoch that saw it counts.
        await sleep(1500);
        const before = (await epochs(run.history)).length + 1;
        await sleep(1000 * Number(seconds));
        const seen = (await epochs(run.history)).slice(before);
        sides[side].push(...seen);
        for (const { page } of open) await page.context().close();
      }
    }
    const [closed, open] = [median(sides.closed), median(sides.open)];
    console.log(
      `${backend}, epochs of ${images} images: ${(1000 * closed).toFixed(0)} ms without pages ` +
        `(${sides.closed.length} epochs), ${(1000 * open).toFixed(0)} ms with ${pages} pages ` +
        `(${sides.open.length} epochs): ${(100 * (open / closed - 1)).toFixed(1)} % slower`,
    );
  } finally {
    training.kill("SIGKILL");
    await training.status;
    await Deno.remove(folder, { recursive: true });
  }
});

/** Seconds of each epoch so far. */
async function epochs(history: string): Promise<number[]> {
  return (await readHistory(history)).map(({ seconds }) => seconds ?? 0);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
