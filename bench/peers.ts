/**
 * The training step on each backend, and in PyTorch where that is installed, turn by turn in one
 * run:
 *
 *     deno run --allow-read --allow-run=python3 --allow-env=XDG_RUNTIME_DIR bench/peers.ts \
 *       --preset tiny --batch-size 64
 *
 * Ours augments its images, PyTorch takes them as they are. PyTorch 1.13 (Debian: `python3-torch`)
 * is given the settings with which it is fastest: without them it takes up to 3.5 times as long.
 */
import { selectBackend } from "../lib/backend/select.ts";
import { TextLineStream } from "@std/streams/text-line-stream";
import { currentGpu } from "../lib/backend/device.ts";
import { presets, type RunConfig } from "../lib/config/run.ts";
import { createShapes } from "../lib/data/shapes.ts";
import { markdownTable } from "../lib/report/tables.ts";
import { tf } from "../lib/tfjs.ts";
import { newCommand, parseArguments, runTask } from "../tasks/cli.ts";
import { print } from "../tasks/output.ts";
import { readRunConfig } from "../tasks/run_options.ts";
import { createOurSide } from "./sides.ts";
import { median } from "./statistics.ts";

/** One way to do a training step. */
interface Peer {
  name: string;
  /** Does one step and waits for its loss. */
  step(): Promise<void>;
  close(): void;
}

const command = newCommand("peers", "Measure the training step beside other stacks.")
  .option("--preset <name>", `what to train: ${Object.keys(presets).join(", ")}`, "tiny")
  .option("--batch-size <integer>", "images a step", "64")
  .option("--rounds <integer>", "measured steps of each", "10")
  .option("--warmup <integer>", "steps of each before that", "3")
  .option("--backends <names>", "ours, separated by commas", "webgpu,wasm")
  .option("--python <path>", "a Python that has torch; none to leave it out", "python3");

async function ourPeer(name: string, config: RunConfig): Promise<Peer> {
  await selectBackend(name);
  const dataset = createShapes({ train: 2 * config.batchSize, test: 1 });
  const side = createOurSide(config, dataset);
  return {
    name: `${name}${currentGpu() ? ` (${currentGpu()!.description})` : ""}`,
    async step() {
      await tf.setBackend(name);
      await side.step();
      await side.loss();
    },
    close() {},
  };
}

/** PyTorch in a process of its own, which works when asked; null where there is none. */
async function torchPeer(python: string, config: RunConfig): Promise<Peer | null> {
  const probe = await new Deno.Command(python, {
    args: ["-c", "import torch; print(torch.__version__)"],
    stderr: "null",
  }).output().catch(() => null);
  if (!probe?.success) return null;
  const child = new Deno.Command(python, {
    args: [new URL("peers/torch_vit.py", import.meta.url).pathname],
    ...{ stdin: "piped", stdout: "piped" },
    env: {
      OMP_WAIT_POLICY: "passive",
      ...{ MALLOC_MMAP_THRESHOLD_: "4294967296", MALLOC_TRIM_THRESHOLD_: "4294967296" },
      MALLOC_TOP_PAD_: "268435456",
    },
  }).spawn();
  const writer = child.stdin.getWriter();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
    .getReader();
  const send = (line: string) => writer.write(new TextEncoder().encode(`${line}\n`));
  await send(JSON.stringify(config));
  return {
    name: `PyTorch ${new TextDecoder().decode(probe.stdout).trim()}`,
    async step() {
      await send("");
      if ((await lines.read()).done) throw new Error("PyTorch ended early.");
    },
    close: () => void writer.close().catch(() => {}),
  };
}

await runTask(async () => {
  parseArguments(command);
  const { preset, batchSize, rounds, warmup, backends, python } = command.opts();
  const config = await readRunConfig({ preset, batchSize });
  const peers: Peer[] = [];
  for (const name of backends.split(",")) peers.push(await ourPeer(name, config));
  const torch = python === "none" ? null : await torchPeer(python, config);
  if (torch) peers.push(torch);
  const times = peers.map((): number[] => []);
  for (let round = -Number(warmup); round < Number(rounds); round++) {
    for (const [i, peer] of peers.entries()) {
      const start = performance.now();
      await peer.step();
      if (round >= 0) times[i]!.push(performance.now() - start);
    }
  }
  for (const peer of peers) peer.close();
  print(`${preset}, batch ${batchSize}, ${rounds} steps of each in turn, ms a step`);
  print(markdownTable(
    ["", "median", "least"],
    peers.map(({ name }, i) => [
      name,
      median(times[i]!).toFixed(0),
      Math.min(...times[i]!).toFixed(0),
    ]),
  ));
  Deno.exit(0);
});
