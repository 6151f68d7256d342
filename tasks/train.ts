/** `deno task train`: trains a Vision Transformer and keeps the run in a folder. */
import { selectBackend } from "../lib/backend/select.ts";
import {
  checkRunFolderIsFree,
  createRunFolder,
  openRunFolder,
  type RunFolder,
} from "../lib/checkpoint/run_folder.ts";
import { loadState, type TrainingState } from "../lib/checkpoint/state.ts";
import type { RunConfig } from "../lib/config.ts";
import { UserError } from "../lib/errors.ts";
import { tf } from "../lib/tfjs.ts";
import { trainRun } from "../lib/train/run.ts";
import denoJson from "../deno.json" with { type: "json" };
import { newCommand, runTask } from "./cli.ts";
import { loadRunData } from "./data_options.ts";
import { addRunOptions, readRunConfig } from "./run_options.ts";
import { TrainDisplay } from "./train_display.ts";

/** Steps between two reads of the metrics on a device where a read means waiting for it. */
const DEVICE_READ_EVERY = 10;

const command = addRunOptions(
  newCommand("train", "Train a Vision Transformer; missing data is downloaded first.")
    .option("--backend <name>", "auto, webgpu, wasm or cpu", "auto")
    .option("--data <source>", "folder, archive or URL of the data set; default: data/")
    .option("--md5 <sum>", "checksum of the archive, or none; default: the official one")
    .option("--out <folder>", "the run's folder; default: runs/<dataset>-<date and time>")
    .option("--resume <folder>", "go on with the run in this folder")
    .option("--json", "print one JSON object per line", false)
    .addHelpText(
      "after",
      "\nExamples:\n  deno task train --preset tiny --dataset shapes\n" +
        "  deno task train --preset tiny --epochs 3 --out runs/my-run\n" +
        "  deno task train --resume runs/my-run",
    ) as ReturnType<typeof newCommand>,
);

interface TrainOptions {
  backend: string;
  data?: string;
  md5?: string;
  out?: string;
  resume?: string;
  json: boolean;
}

await runTask(async () => {
  command.parse();
  const given = command.opts() as Record<string, unknown>;
  const options = given as unknown as TrainOptions;
  const { config, folder, state } = await prepare(options, given);

  const choice = await selectBackend(options.backend);
  if (!options.json) console.log(`Backend ${choice.reason}`);
  const dataset = await loadRunData(config, options);
  const run = await folder();
  if (!options.json) console.log(`Run folder ${run.path}`);

  const stop = new AbortController();
  const interrupt = () => {
    if (!options.json) console.log("\nStopping after this step …");
    stop.abort();
    // A second Ctrl-C ends the process at once.
    Deno.removeSignalListener("SIGINT", interrupt);
  };
  Deno.addSignalListener("SIGINT", interrupt);
  const display = new TrainDisplay(config, options.json);
  display.start(state?.step ?? 0);
  const result = await trainRun({
    config,
    dataset,
    folder: run,
    resume: state,
    versions: { "deno-vit": denoJson.version, tfjs: tf.version.tfjs!, deno: Deno.version.deno },
    readEvery: choice.name === "webgpu" ? DEVICE_READ_EVERY : 1,
    signal: stop.signal,
    onStep: (event) => display.step(event),
    onValidation: (done, count) => display.evaluation("Validating", done, count),
    onEpoch: (record, isBest) => display.epoch(record, isBest),
    onTest: (done, count) => display.evaluation("Testing", done, count),
  }).catch(async (error: unknown) => {
    if (!state) await removeIfUnused(run);
    throw error;
  });
  if (result.test) display.result("test", result.test);
  else if (!options.json) {
    console.log(
      `Stopped and saved at step ${result.step}; go on with: deno task train --resume ${run.path}`,
    );
  }
  Deno.exit(0);
});

/** The run to do: a new one, or the one to resume. The folder of a new run is made last. */
async function prepare(options: TrainOptions, given: Record<string, unknown>): Promise<
  { config: RunConfig; folder: () => Promise<RunFolder>; state?: TrainingState }
> {
  if (options.resume === undefined) {
    const config = await readRunConfig(given);
    const name = `${config.dataset}-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}`;
    const path = options.out ?? `runs/${name}`;
    // Now, because a download may come before the folder is made.
    await checkRunFolderIsFree(path);
    return { config, folder: () => createRunFolder(path, config) };
  }
  if (options.out !== undefined) {
    throw new UserError(`--out ${options.out} cannot be given with --resume; leave it out.`);
  }
  const { run, config: saved } = await openRunFolder(options.resume);
  const state = await loadState(run.last);
  const config = await readRunConfig(given, given.preset === undefined ? saved : undefined);
  return { config, folder: () => Promise.resolve(run), state };
}

/** Removes the folder of a run that failed before it saved anything: its name may be used again. */
async function removeIfUnused(run: RunFolder): Promise<void> {
  const names = (await Array.fromAsync(Deno.readDir(run.path))).map(({ name }) => name);
  if (names.length !== 1 || names[0] !== "config.json") return;
  await Deno.remove(run.config);
  await Deno.remove(run.path);
}
