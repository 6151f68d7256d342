/**
 * The training step on each backend, in PyTorch where that is installed and in jax-js, turn by turn in
 * one run:
 *
 *     deno run --allow-read --allow-run=python3,deno --allow-env=XDG_RUNTIME_DIR bench/peers.ts \
 *       --preset tiny --batch-size 64
 *
 * Ours augments its images, the others take them as they are. PyTorch 1.13 (Debian: `python3-torch`)
 * is given the settings with which it is fastest: without them it takes up to 3.5 times as long.
 * jax-js comes from npm when it first starts, and `bench/peers/jax_vit.ts` says how it is used.
 */
import { selectBackend } from "../lib/backend/select.ts";
import { TextLineStream } from "@std/streams/text-line-stream";
import { currentGpu } from "../lib/backend/device.ts";
import { presets, type RunConfig } from "../lib/config/run.ts";
import { createShapes } from "../lib/data/shapes.ts";
import { architectureOf } from "../lib/models/architecture.ts";
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
  .option("--python <path>", "a Python that has torch; none to leave it out", "python3")
  .option("--jax <devices>", "jax-js's, separated by commas; none to leave it out", "webgpu,wasm");

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

/** A process that is sent lines and answers each with one. */
function answering(program: string, options: Deno.CommandOptions) {
  const child = new Deno.Command(program, { ...options, stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
    .getReader();
  return {
    send: (line: string) => writer.write(new TextEncoder().encode(`${line}\n`)),
    /** The next line; undefined where it has ended. */
    answer: async () => (await lines.read()).value as string | undefined,
    close: () => void writer.close().catch(() => {}),
  };
}

/** A peer in a process of its own, which does a step for each line. */
function processPeer(name: string, { send, answer, close }: ReturnType<typeof answering>): Peer {
  return {
    name,
    async step() {
      await send("");
      if (await answer() === undefined) throw new Error(`${name} ended early.`);
    },
    close,
  };
}

/** PyTorch; null where there is none. */
async function torchPeer(python: string, config: RunConfig): Promise<Peer | null> {
  const probe = await new Deno.Command(python, {
    args: ["-c", "import torch; print(torch.__version__)"],
    stderr: "null",
  }).output().catch(() => null);
  if (!probe?.success) return leftOut("PyTorch", `${python} has no torch`);
  const child = answering(python, {
    args: [new URL("peers/torch_vit.py", import.meta.url).pathname],
    env: {
      OMP_WAIT_POLICY: "passive",
      ...{ MALLOC_MMAP_THRESHOLD_: "4294967296", MALLOC_TRIM_THRESHOLD_: "4294967296" },
      MALLOC_TOP_PAD_: "268435456",
    },
  });
  await child.send(JSON.stringify(config));
  return processPeer(`PyTorch ${new TextDecoder().decode(probe.stdout).trim()}`, child);
}

/** jax-js on one of its devices; null where it is not to be had, or cannot. */
async function jaxPeer(device: string, config: RunConfig): Promise<Peer | null> {
  const name = `jax-js ${device}`;
  const args = ["run", "--quiet", "--no-prompt", "bench/peers/jax_vit.ts", device];
  try {
    const cwd = new URL("..", import.meta.url);
    const child = answering("deno", { args, cwd, stderr: "null" });
    const shapes = Object.fromEntries(architectureOf(config).weights);
    // One that has ended says so by its answer.
    await child.send(JSON.stringify({ config, shapes })).catch(() => {});
    const answer = await child.answer();
    const [, version] = /^ready (.+)/.exec(answer ?? "") ?? [];
    if (version) return processPeer(`jax-js ${version} ${device}`, child);
    return leftOut(name, answer ?? `it did not start, and \`deno ${args.join(" ")}\` says why`);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return leftOut(name, error.message);
    throw error;
  }
}

function leftOut(name: string, reason: string): null {
  print(`${name} is left out: ${reason}.`);
  return null;
}

await runTask(async () => {
  parseArguments(command);
  const { preset, batchSize, rounds, warmup, backends, python, jax } = command.opts();
  const config = await readRunConfig({ preset, batchSize });
  const peers: Peer[] = [];
  for (const name of backends.split(",")) peers.push(await ourPeer(name, config));
  const others = python === "none" ? [] : [await torchPeer(python, config)];
  for (const device of jax === "none" ? [] : jax.split(",")) {
    others.push(await jaxPeer(device, config));
  }
  peers.push(...others.filter((peer) => peer !== null));
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
