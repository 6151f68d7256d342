/**
 * `deno task bench`: the training step beside a plain tfjs port of it, in one run on one adapter,
 * turn by turn; then where our step's device time goes, and each matrix product beside tf.matMul.
 */
import { format as formatBytes } from "@std/fmt/bytes";
import { currentGpu } from "../lib/backend/device.ts";
import { selectBackend } from "../lib/backend/select.ts";
import { presets, type RunConfig } from "../lib/config/run.ts";
import { createShapes } from "../lib/data/shapes.ts";
import { UserError } from "../lib/errors.ts";
import { tuneForms, untunedForms } from "../lib/kernels/form_tuning.ts";
import { forceForm, type Form, forms, isForm } from "../lib/kernels/forms.ts";
import { tune, untunedProducts } from "../lib/kernels/matmul/tuning.ts";
import { trainingForms } from "../lib/models/formed_shapes.ts";
import { trainingProducts } from "../lib/models/matrix_products.ts";
import { markdownTable } from "../lib/report/tables.ts";
import { tf } from "../lib/tfjs.ts";
import { newCommand, parseArguments, runTask } from "../tasks/cli.ts";
import { print } from "../tasks/output.ts";
import { readRunConfig } from "../tasks/run_options.ts";
import { compareSides, type SideReport } from "./compare.ts";
import { installMeters, useMeter } from "./instrument.ts";
import { type MatmulRow, measureMatmuls } from "./matmul.ts";
import { measurePeak, type Peak } from "./peak.ts";
import { type KernelRow, profileStep } from "./profile.ts";
import { newReport, type Report, withChoices } from "./report.ts";
import { activate, createSides, flush } from "./sides.ts";

/** Batches that the baseline gets through in seconds on a software adapter. */
const softwareBatch: Record<string, number> = { "keras-cifar100": 8, tiny: 64 };
/** Steps between two waits on hardware, as in training; software does the work at once. */
const HARDWARE_STEPS_PER_TURN = 10;
/** Rows of the kernel table for people; `--json` has them all. */
const SHOWN_KERNELS = 25;

const partNames = ["steps", "kernels", "matmuls"] as const;

const command = newCommand("bench", "Measure the training step beside a plain tfjs port of it.")
  .option("--preset <name>", `what to train: ${Object.keys(presets).join(", ")}`, "keras-cifar100")
  .option("--batch-size <integer>", "images a step; default on software: 8, for tiny 64")
  .option("--steps <integer>", "measured turns of each side", "3")
  .option("--warmup <integer>", "steps of each side before that", "2")
  .option("--backend <name>", "webgpu, wasm or cpu", "webgpu")
  .option("--precision <name>", "what our side's large tensors are stored as: f32 or f16", "f32")
  .option("--parts <names>", "what to measure, separated by commas", partNames.join(","))
  .option(
    "--form <name>",
    `of attention, normalization and sums on webgpu: ${forms.join(" or ")}; default: thread`,
  )
  .option("--repeats <integer>", "measurements of each matrix product", "5")
  .option("--json", "print one JSON object", false)
  .option("--report <file>", "write that object, with all that is known of the adapter, to runs/…")
  .addHelpText(
    "after",
    "\nExamples:\n  deno task bench --preset tiny\n" +
      "  deno task bench --parts steps --batch-size 64 --steps 1 --warmup 1 --json\n" +
      "  deno task bench --preset tiny --backend wasm --parts kernels\n" +
      "  deno task bench --report runs/my-gpu.json",
  );

await runTask(async () => {
  parseArguments(command);
  const options = command.opts();
  const parts = partsOf(options.parts);
  const [steps, warmup, repeats] = [
    integerOf("steps", options.steps, 1),
    integerOf("warmup", options.warmup, 1),
    integerOf("repeats", options.repeats, 1),
  ];
  const say = (text: string) => {
    if (!options.json) print(text);
  };
  const progress = (text: string) => {
    if (!options.json && Deno.stderr.isTerminal()) console.error(text);
  };

  installMeters();
  if (options.form !== undefined) forceForm(formOf(options.form));
  const choice = await selectBackend(options.backend);
  say(`Backend ${choice.reason}`);
  const batchSize = options.batchSize ??
    (choice.isSoftware ? softwareBatch[options.preset]?.toString() : undefined);
  const { precision } = options;
  const config = await readRunConfig({ preset: options.preset, batchSize, precision });
  const gpu = currentGpu();
  const isTimed = gpu?.features.has("timestamp-query") ?? false;
  if (gpu && !isTimed) say("Without timestamp queries there are no figures of single kernels.");
  const profiles = parts.has("kernels") && (isTimed || !gpu);
  progress("Measuring the adapter");
  const peak = isTimed ? await measurePeak() : null;
  if (peak) {
    say(
      `Adapter: ${peak.gflops.toFixed(1)} GFLOP/s of multiply-adds, ` +
        `${peak.gigabytes.toFixed(1)} GB/s from buffer to buffer`,
    );
  }

  if (gpu && !gpu.isSoftware) {
    progress("Measuring tiles and forms");
    // As training does, so that its kernels are measured; nothing is kept.
    await tune(untunedProducts(trainingProducts(config)));
    if (options.form === undefined) await tuneForms(untunedForms(trainingForms(config)));
  }
  const report = newReport(options.preset, config.batchSize);
  report.peak = peak;
  if (parts.has("steps") || profiles) {
    await measureSides(report, config, {
      compares: parts.has("steps"),
      profiles,
      steps,
      warmup,
      isSoftware: choice.isSoftware,
      stepsPerTurn: choice.isSoftware ? 1 : HARDWARE_STEPS_PER_TURN,
      progress,
    });
  }
  if (report.steps) say(stepsText(report));
  if (report.kernels) say(kernelsText(report.kernels, peak));
  if (parts.has("matmuls") && isTimed) {
    progress("Measuring matrix products");
    await tf.setBackend(choice.name);
    report.matmuls = await measureMatmuls(config, repeats);
    say(matmulsText(report.matmuls, peak!));
  }
  const text = JSON.stringify(withChoices(report), null, 2);
  if (options.json) print(text);
  if (options.report) {
    await Deno.writeTextFile(options.report, `${text}\n`);
    say(`\nWritten: ${options.report}`);
  }
  Deno.exit(0);
});

interface SideOptions {
  compares: boolean;
  profiles: boolean;
  steps: number;
  warmup: number;
  isSoftware: boolean;
  stepsPerTurn: number;
  progress: (text: string) => void;
}

async function measureSides(
  report: Report,
  config: RunConfig,
  { compares, profiles, steps, warmup, isSoftware, stepsPerTurn, progress }: SideOptions,
): Promise<void> {
  const dataset = createShapes({ train: 2 * config.batchSize, test: 1 });
  const sides = await createSides(config, dataset);
  report.parameters = sides.parameters;
  const all = sides.tfjs ? [sides.tfjs, sides.ours] : [sides.ours];
  const measured = await compareSides(compares ? all : [sides.ours], {
    batchSize: config.batchSize,
    isSoftware,
    turns: compares ? steps : 0,
    stepsPerTurn,
    warmup,
    onTurn: (name, turn, isWarmup) =>
      progress(`${isWarmup ? "Warm-up" : "Step"} ${turn + 1}, ${name}`),
  });
  if (compares) {
    const [tfjs, ours] = [measured.get("tfjs") ?? null, measured.get("ours")!];
    const speedup = tfjs && tfjs.msPerStep.median / ours.msPerStep.median;
    report.steps = { tfjs, ours, speedup };
  }
  if (profiles) {
    progress("Profiling a step");
    await activate(sides.ours);
    useMeter(null);
    report.kernels = await profileStep(() => {
      sides.ours.plainStep();
      flush();
    }, sides);
  }
  for (const side of all) {
    await activate(side);
    side.dispose();
  }
  useMeter(null);
}

function stepsText({ preset, batchSize, parameters, steps }: Report): string {
  const { tfjs, ours, speedup } = steps!;
  const line = (name: string, text: (side: SideReport) => string) => [
    name,
    ...(tfjs ? [text(tfjs)] : []),
    text(ours),
  ];
  const gpuLine = (name: string, text: (gpu: NonNullable<SideReport["gpu"]>) => string) =>
    line(name, ({ gpu }) => gpu ? text(gpu) : "");
  const rows = [
    line("ms/step, median", ({ msPerStep }) => msPerStep.median.toFixed(1)),
    line("fastest", ({ msPerStep }) => msPerStep.min.toFixed(1)),
    line("slowest", ({ msPerStep }) => msPerStep.max.toFixed(1)),
    line("images/s", ({ imagesPerSecond }) => imagesPerSecond.toFixed(1)),
    ...(ours.gpu
      ? [
        gpuLine("dispatches a step", ({ dispatches }) => dispatches.toFixed()),
        gpuLine("submits", ({ submits }) => submits.toFixed(1)),
        gpuLine("new buffers", ({ newBuffers }) => newBuffers.toFixed(1)),
        gpuLine("bind groups", ({ bindGroups }) => bindGroups.toFixed()),
        gpuLine("host ms", ({ hostMs }) => hostMs.toFixed(1)),
        gpuLine("ms inside submit()", ({ submitMs }) => submitMs.toFixed(1)),
        gpuLine("peak GPU memory", ({ peakBytes }) => formatBytes(peakBytes)),
        gpuLine("of it in tensors", ({ peakUsedBytes }) => formatBytes(peakUsedBytes)),
      ]
      : []),
    line("loss, last turn", ({ loss }) => loss.toFixed(3)),
  ];
  const gain = speedup
    ? `${speedup.toFixed(2)} times as fast`
    : "the plain port does not know this model";
  const head = ["training step", ...(tfjs ? ["plain tfjs"] : []), "ours"];
  return `\n${preset}, batch ${batchSize}, ${
    parameters.toLocaleString("en")
  } parameters: ${gain}\n\n` +
    markdownTable(head, rows);
}

function kernelsText(kernels: readonly KernelRow[], peak: Peak | null): string {
  const ofPeak = (value: number, best: number | undefined) => best ? percent(value / best) : "";
  const total = kernels.reduce((sum, { ms }) => sum + ms, 0);
  const rows = kernels.slice(0, SHOWN_KERNELS).map((row) => [
    row.name,
    row.shape,
    String(row.calls),
    row.dispatches === 0 ? "" : String(row.dispatches),
    row.ms.toFixed(2),
    percent(row.share),
    row.gflops === 0 ? "" : row.gflops.toFixed(1),
    row.gflops === 0 ? "" : ofPeak(row.gflops, peak?.gflops),
    row.gigabytes.toFixed(2),
    ofPeak(row.gigabytes, peak?.gigabytes),
  ]);
  const head = ["kernel", "shape", "calls", "dispatches", "ms", "share"].concat(
    ["GFLOP/s", "of peak", "GB/s", "of copy"],
  );
  const hidden = kernels.slice(SHOWN_KERNELS);
  const rest = hidden.length === 0
    ? ""
    : `and ${hidden.length} more in ${hidden.reduce((sum, { ms }) => sum + ms, 0).toFixed(2)} ms\n`;
  const clock = peak ? "on the device by timestamp query" : "kernel by kernel";
  return `\nOur step ${clock}, ${total.toFixed(1)} ms\n\n` +
    markdownTable(head, rows) + rest;
}

function matmulsText(matmuls: readonly MatmulRow[], peak: Peak): string {
  const rows = matmuls.map((row) => [
    row.name,
    row.pass === "forward" ? row.pass : `${row.pass} gradient`,
    row.shape,
    String(row.count),
    row.tfjsGflops.toFixed(2),
    row.oursGflops.toFixed(2),
    row.ratio.toFixed(2),
    percent(row.oursGflops / peak.gflops),
  ]);
  const least = matmuls.reduce((a, b) => a.ratio < b.ratio ? a : b);
  return "\nMatrix products, GFLOP/s\n\n" + markdownTable(
    ["layer", "pass", "shape", "a step", "tfjs", "ours", "ratio", "of peak"],
    rows,
  ) + `least ratio ${least.ratio.toFixed(2)}: ${least.name}, ${least.pass}\n`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

function partsOf(text: string): Set<string> {
  const names = text.split(",");
  const wrong = names.find((name) => !(partNames as readonly string[]).includes(name));
  if (wrong !== undefined) {
    throw new UserError(`Unknown part "${wrong}"; take some of ${partNames.join(", ")}.`);
  }
  return new Set(names);
}

function formOf(text: string): Form {
  if (isForm(text)) return text;
  throw new UserError(`Option --form cannot be "${text}"; take ${forms.join(" or ")}.`);
}

function integerOf(name: string, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least) {
    throw new UserError(
      `Option --${name} cannot be "${text}": it must be an integer from ${least}.`,
    );
  }
  return value;
}
