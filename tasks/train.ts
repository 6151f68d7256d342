/** `deno task train`: trains a Vision Transformer and keeps the run in a folder. */
import { selectBackendOfRun } from "../lib/backend/select.ts";
import { lockRun, type RunLock } from "../lib/checkpoint/lock.ts";
import { noticesOf, reopenRun } from "../lib/checkpoint/reopen.ts";
import {
  checkRunFolderIsFree,
  createRunFolder,
  latestRun,
  type RunFolder,
} from "../lib/checkpoint/run_folder.ts";
import type { TrainingState } from "../lib/checkpoint/state.ts";
import { preset, type RunConfig } from "../lib/config/run.ts";
import { shortNameOf } from "../lib/data/picture_set.ts";
import { pictureSourceOf } from "../lib/data/sources.ts";
import { UserError } from "../lib/errors.ts";
import { tf } from "../lib/tfjs.ts";
import { type InitialWeights, loadInitialWeights } from "../lib/train/initial_weights.ts";
import { trainRun } from "../lib/train/run.ts";
import type { SaveEvery } from "../lib/train/saver.ts";
import denoJson from "../deno.json" with { type: "json" };
import { newCommand, oneOf, runTask } from "./cli.ts";
import { deviceDataText, loadRunData, onBrokenText } from "./data_options.ts";
import { askToReach, askToWrite } from "./permissions.ts";
import { addRunOptions, readRunConfig } from "./run_options.ts";
import { TrainDisplay } from "./train_display.ts";
import { tuneKernels } from "./tuning.ts";

/** Where runs are kept unless told otherwise, and where `--resume auto` looks. */
const RUNS = "runs";

const command = addRunOptions(
  newCommand("train", "Train a Vision Transformer; missing data is downloaded first.")
    .option(
      "--backend <name>",
      "auto, webgpu, wasm or cpu; with --resume auto is the one that the run was computed on",
      "auto",
    )
    .option("--data <source>", "folder, archive or URL of the data set; default: data/")
    .option("--md5 <sum>", "checksum of the archive, or none; default: the official one")
    .option("--on-broken <what>", onBrokenText, "skip")
    .option("--device-data <bytes>", deviceDataText, "auto")
    .option("--out <folder>", "the run's folder; default: runs/<dataset>-<date and time>")
    .option(
      "--resume <run>",
      "go on with the run in this folder from its newest valid state; auto: with the newest in runs/",
    )
    .option(
      "--init-from <path>",
      "begin a new run with the weights of a run, a checkpoint or an exported safetensors file",
    )
    .option(
      "--save-every <interval>",
      "save within an epoch too: every so many steps (500) or minutes (10m); 0: never",
      "10m",
    )
    .option("--keep <n>", "how many states stay, the last and those before it", "2")
    .option(
      "--on-nan <what>",
      "a loss or gradient that is NaN or infinite: stop the run, or skip that step's update",
      "stop",
    )
    .option(
      "--tune",
      "measure the GPU's kernels first; a hardware GPU does so unasked, once",
      false,
    )
    .option("--json", "print one JSON object per line", false)
    .addHelpText(
      "after",
      "\nExamples:\n  deno task train --preset tiny --dataset shapes\n" +
        "  deno task train --preset tiny --epochs 3 --out runs/my-run\n" +
        "  deno task train --preset tiny --dataset folder:photos --image-size 64\n" +
        "  deno task train --resume runs/my-run\n" +
        "  deno task train --init-from runs/my-run --dataset cifar10",
    ) as ReturnType<typeof newCommand>,
);

interface TrainOptions {
  backend: string;
  data?: string;
  md5?: string;
  onBroken: string;
  deviceData: string;
  out?: string;
  resume?: string;
  initFrom?: string;
  saveEvery: string;
  keep: string;
  onNan: string;
  tune: boolean;
  json: boolean;
}

/** The run to do. */
interface Prepared {
  config: RunConfig;
  /** The folder, locked; that of a new run is made now. */
  open(): Promise<{ run: RunFolder; lock: RunLock }>;
  /** The state to go on from. */
  resume?: TrainingState;
  /** The weights that a new run begins from. */
  initial?: InitialWeights;
}

await runTask(async () => {
  command.parse();
  const given = command.opts() as Record<string, unknown>;
  const options = given as unknown as TrainOptions;
  const saveEvery = parseSaveEvery(options.saveEvery);
  const keep = parseKeep(options.keep);
  const onNan = oneOf("--on-nan", options.onNan, { stop: "stop", skip: "skip" } as const);
  // What is printed with --json is JSON lines alone.
  const onNotice = (text: string) => options.json ? console.error(text) : console.log(text);
  await using owned = new AsyncDisposableStack();
  await askToReach("--data", options.data);
  const { config, open, resume, initial } = await prepare(options, given, owned, onNotice);

  const choice = await selectBackendOfRun(options.backend, resume?.computedOn, onNotice);
  if (!options.json) console.log(`Backend ${choice.reason}`);
  await tuneKernels(choice, config, options.tune, onNotice);
  const dataset = await loadRunData(config, options, onNotice);
  const { run, lock } = await open();
  if (!options.json) console.log(`Run folder ${run.path}`);

  const stop = new AbortController();
  listenForStop(() => {
    if (!options.json) console.log("\nStopping after this step …");
    stop.abort();
  });
  const display = new TrainDisplay(config, options.json);
  display.start(resume?.step ?? 0);
  const start = resume ? { resume } : initial && { initial };
  const result = await trainRun({
    ...{ config, dataset, folder: run, lock, start, onNan, save: { every: saveEvery, keep } },
    versions: { "deno-vit": denoJson.version, tfjs: tf.version.tfjs!, deno: Deno.version.deno },
    signal: stop.signal,
    onEvent: (event) => {
      if (event.type === "step") display.step(event);
      else if (event.type === "validation") {
        display.evaluation("Validating", event.done, event.count);
      } else if (event.type === "test") display.evaluation("Testing", event.done, event.count);
      else if (event.type === "epoch") display.epoch(event.record, event.isBest);
      else if (event.type === "notice") onNotice(event.text);
    },
  }).catch(async (error: unknown) => {
    await lock.release();
    if (!resume) await removeIfUnused(run);
    throw error;
  });
  await lock.release();
  if (result.skippedSteps > 0) {
    onNotice(`${result.skippedSteps} updates were left out, their gradient being NaN or infinite.`);
  }
  if (result.test) display.result("test", result.test);
  else if (!options.json) {
    console.log(
      `Stopped and saved at step ${result.step}; go on with: deno task train --resume ${run.path}`,
    );
  }
  Deno.exit(0);
});

async function prepare(
  options: TrainOptions,
  given: Record<string, unknown>,
  owned: AsyncDisposableStack,
  onNotice: (text: string) => void,
): Promise<Prepared> {
  if (options.resume === undefined) return await prepareNew(options, given, onNotice);
  for (const [name, value] of [["out", options.out], ["init-from", options.initFrom]]) {
    if (value === undefined) continue;
    throw new UserError(`--${name} ${value} cannot be given with --resume; leave it out.`);
  }
  const path = options.resume === "auto" ? await latestRun(RUNS) : options.resume;
  if (path === undefined) {
    throw new UserError(`There is no run in ${RUNS}/ to go on with; start one without --resume.`);
  }
  await askToWrite("--resume", path);
  const { run, config: saved, lock, state, notices } = await reopenRun(path);
  owned.use(lock);
  for (const notice of notices) onNotice(notice);
  if (options.resume === "auto") onNotice(`Going on with ${run.path}, step ${state?.step ?? 0}.`);
  const config = await readRunConfig(given, given.preset === undefined ? saved : undefined);
  return { config, open: () => Promise.resolve({ run, lock }), resume: state };
}

async function prepareNew(
  options: TrainOptions,
  given: Record<string, unknown>,
  onNotice: (text: string) => void,
): Promise<Prepared> {
  const { initFrom } = options;
  const initial = initFrom === undefined ? undefined : await loadInitialWeights(initFrom);
  // A preset that is named decides; else the weights' own run or model does.
  const base = initial && given.preset === undefined
    ? initial.run ?? { ...preset("keras-cifar100"), ...initial.model }
    : undefined;
  const config = await readRunConfig(given, base);
  const name = `${nameOfData(config)}-${
    new Date().toISOString().slice(0, 19).replaceAll(":", "-")
  }`;
  const path = options.out ?? `${RUNS}/${name}`;
  await askToWrite("--out", path);
  // Now, because a download may come before the folder is made.
  await checkRunFolderIsFree(path);
  const open = async () => {
    const run = await createRunFolder(path, config, initial?.source);
    const lock = await lockRun(run.path);
    for (const notice of noticesOf(run, lock)) onNotice(notice);
    return { run, lock };
  };
  return { config, open, initial };
}

/** As a part of a folder's name: that of the data set, or of the folder of pictures. */
function nameOfData({ dataset }: RunConfig): string {
  const pictures = pictureSourceOf(dataset);
  return pictures ? shortNameOf(pictures.path) : dataset;
}

function parseSaveEvery(text: string): SaveEvery {
  const [, digits, unit] = /^(\d{1,9})(m?)$/.exec(text) ?? [];
  if (digits === undefined) {
    throw new UserError(
      `Option --save-every cannot be "${text}"; give steps, such as 500, or minutes, such as 10m.`,
    );
  }
  const count = Number(digits);
  if (count === 0) return null;
  return unit === "m" ? { minutes: count } : { steps: count };
}

function parseKeep(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new UserError(`Option --keep cannot be "${text}"; give a number of states from 1.`);
}

/** Calls `stop` at the first Ctrl-C or SIGTERM; a second one ends the process at once. */
function listenForStop(stop: () => void): void {
  // Windows knows no SIGTERM; SIGBREAK is what it sends when a console is closed.
  const signals: Deno.Signal[] = ["SIGINT", Deno.build.os === "windows" ? "SIGBREAK" : "SIGTERM"];
  const listener = () => {
    for (const signal of signals) Deno.removeSignalListener(signal, listener);
    stop();
  };
  for (const signal of signals) Deno.addSignalListener(signal, listener);
}

/** Removes the folder of a run that failed before it saved anything: its name may be used again. */
async function removeIfUnused(run: RunFolder): Promise<void> {
  const names = (await Array.fromAsync(Deno.readDir(run.path))).map(({ name }) => name);
  if (!names.every((name) => name === "config.json" || name === "origin.json")) return;
  await Deno.remove(run.path, { recursive: true });
}
