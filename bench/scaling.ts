/**
 * What ranks must carry, and how they would scale.
 *
 *     deno run --allow-read --allow-env=XDG_RUNTIME_DIR bench/scaling.ts
 *
 * prints the bytes that a step of each preset sums. With `--preset` it predicts how many times as fast `n`
 * machines would be as one:
 *
 *     step(batch) / (step(batch / n) + 2 (n - 1) / n * bytes / bandwidth + sum)
 *
 * The steps are measured here, of one process on all processors, each with the images that a machine
 * would have; `--step MS` takes that time for the whole batch instead, and its n-th part for a machine.
 * `--sum MS` is what the sum takes without a network, which allreduce.ts measures.
 */
import { selectBackend } from "../lib/backend/select.ts";
import { type PresetName, presets, type RunConfig } from "../lib/config/run.ts";
import { createShapes } from "../lib/data/shapes.ts";
import { architectureOf } from "../lib/models/architecture.ts";
import { isTrained } from "../lib/models/trained.ts";
import { markdownTable } from "../lib/report/tables.ts";
import { newCommand, parseArguments, runTask } from "../tasks/cli.ts";
import { print } from "../tasks/output.ts";
import { readRunConfig } from "../tasks/run_options.ts";
import { createOurSide } from "./sides.ts";
import { median } from "./statistics.ts";

/** Gbit/s of networks. */
const networks = [1, 10, 100];

/** Elements of each gradient of a configuration, in the order of the layers. */
export function gradientSizes(config: RunConfig): number[] {
  return [...architectureOf(config).weights]
    .filter(([name]) => isTrained(name, config))
    .map(([, shape]) => shape.reduce((product, extent) => product * extent, 1));
}

/** Bytes that a step sums: a float32 for each number that is trained. */
export function gradientBytes(config: RunConfig): number {
  return 4 * gradientSizes(config).reduce((sum, size) => sum + size, 0);
}

/** Milliseconds that the network of `n` machines takes for a sum: each sends and receives so much. */
export function networkTime(bytes: number, n: number, gigabits: number): number {
  return 2 * (n - 1) / n * bytes * 8 / (gigabits * 1e6);
}

/** What the network of two machines must carry in a step of each preset. */
export function carriedTable(): string {
  const rows = (Object.keys(presets) as PresetName[]).map((name) => {
    const bytes = gradientBytes(presets[name]);
    const times = networks.map((gigabits) => `${rounded(networkTime(bytes, 2, gigabits))} ms`);
    return [`\`${name}\``, `${rounded(bytes / 1e6)} MB`, ...times];
  });
  return markdownTable(["preset", "bytes a step", ...headings()], rows);
}

/** What a prediction is made from; times in milliseconds. */
export interface Scaling {
  bytes: number;
  /** By the number of machines, 1 among them: a step of the images that each has. */
  steps: ReadonlyMap<number, number>;
  /** What the sum takes besides the network's time. */
  sum: number;
}

/** How many times as fast machines are predicted to be as one. */
export function scalingTable({ bytes, steps, sum }: Scaling): string {
  const rows = [...steps].filter(([n]) => n > 1).map(([n, step]) => [
    `${n}`,
    ...networks.map((gigabits) =>
      (steps.get(1)! / (step + networkTime(bytes, n, gigabits) + sum)).toFixed(1)
    ),
  ]);
  return markdownTable(["machines", ...headings()], rows);
}

function headings(): string[] {
  return networks.map((gigabits) => `${gigabits} Gbit/s`);
}

/** Two digits that count. */
function rounded(value: number): string {
  return `${Number(value.toPrecision(2))}`;
}

/** The median time of a step of one process on wasm, in milliseconds. */
async function stepTime(config: RunConfig, steps: number): Promise<number> {
  const side = createOurSide(config, createShapes({ train: 2 * config.batchSize, test: 1 }));
  const times: number[] = [];
  for (let i = 0; i < steps + 3; i++) {
    const start = performance.now();
    await side.step();
    await side.loss();
    times.push(performance.now() - start);
  }
  side.dispose();
  return median(times.slice(3));
}

const command = newCommand("scaling", "Say what ranks must carry, and predict how they scale.")
  .option("--preset <name>", "predict for this preset; without it, list what all must carry")
  .option("--batch-size <integer>", "images of a batch, of all machines together")
  .option("--machines <numbers>", "how many, separated by commas", "2,4,8")
  .option("--sum <ms>", "what the sum of the gradients takes without a network", "0")
  .option("--step <ms>", "time of one machine's step; measured without it")
  .option("--steps <integer>", "measured steps of each batch", "15");

if (import.meta.main) {
  await runTask(async () => {
    parseArguments(command);
    const { preset, batchSize, machines, sum, step, steps: count } = command.opts();
    if (preset === undefined) return print(carriedTable());
    const config = await readRunConfig({ preset, ...(batchSize && { batchSize }) });
    const steps = new Map<number, number>();
    if (step === undefined) await selectBackend("wasm");
    for (const n of [1, ...machines.split(",").map(Number)]) {
      const images = Math.ceil(config.batchSize / n);
      const time = step === undefined
        ? await stepTime({ ...config, batchSize: images }, Number(count))
        : Number(step) / n;
      steps.set(n, time);
      print(`${images} images a machine: ${time.toFixed(0)} ms a step`);
    }
    print(`Predicted, ${preset}, batch ${config.batchSize}, times as fast as one machine:`);
    print(scalingTable({ bytes: gradientBytes(config), steps, sum: Number(sum) }));
    Deno.exit(0);
  });
}
