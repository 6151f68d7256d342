/** The weights that a new run may begin from instead of random ones. */
import type { tf } from "../tfjs.ts";
import { openRunFolder } from "../checkpoint/run_folder.ts";
import { readSafetensorsMetadata } from "../checkpoint/safetensors.ts";
import { checkpointFormat, type FloatTensor, loadWeights } from "../checkpoint/state.ts";
import { ioError } from "../files.ts";
import { modelFields, type ViTConfig } from "../config/model.ts";
import { modelConfigOf, type RunConfig } from "../config/run.ts";
import { UserError } from "../errors.ts";
import { loadPlainWeights } from "../export/portable_model.ts";
import { assignVariables, readVariables } from "./weights.ts";

/** Weights of another run or of an exported model. */
export interface InitialWeights {
  /** Their file. */
  source: string;
  weights: ReadonlyMap<string, FloatTensor>;
  /** Of their model. */
  model: ViTConfig;
  /** Of the run that trained them, where the file says it. */
  run?: RunConfig;
}

/** Fields in which the two models may differ: no weight outside the classifier hangs on them. */
const mayDiffer: readonly string[] = [
  "numClasses",
  "attentionDropout",
  "mlpDropout",
  "headDropout",
];

/**
 * Loads weights from a run's folder (its best, else its last), a checkpoint, or exported weights.
 * @throws {UserError} if there is no such file, or it is damaged or foreign.
 */
export async function loadInitialWeights(path: string): Promise<InitialWeights> {
  const info = await Deno.stat(path).catch((error) => {
    throw ioError(error, "read", path);
  });
  const source = info.isDirectory ? await fileOfRun(path) : path;
  const { format } = await readSafetensorsMetadata(source);
  if (format !== checkpointFormat) {
    const { config, weights } = await loadPlainWeights(source);
    return { source, weights, model: config };
  }
  const { config, weights } = await loadWeights(source);
  return { source, weights, model: modelConfigOf(config), run: config };
}

async function fileOfRun(path: string): Promise<string> {
  const { run } = await openRunFolder(path);
  for (const file of [run.best, run.last]) {
    if (await Deno.stat(file).then(() => true, () => false)) return file;
  }
  throw new UserError(`The run ${path} has saved no weights yet; take another run.`);
}

/**
 * Checks that weights are of a run's model, but for the number of classes and the dropout rates.
 * @throws {UserError} naming the first field that differs, and both values.
 */
export function checkInitialWeights({ source, model }: InitialWeights, config: RunConfig): void {
  for (const key of Object.keys(modelFields) as (keyof ViTConfig)[]) {
    const [theirs, ours] = [JSON.stringify(model[key]), JSON.stringify(config[key])];
    if (theirs === ours || mayDiffer.includes(key)) continue;
    throw new UserError(
      `The weights of ${source} are of another model: its ${key} is ${theirs}, this run's is ` +
        `${ours}; only numClasses and dropout rates may differ, so take ${theirs}.`,
    );
  }
}

/**
 * Puts initial weights on the device; a classifier of another number of classes keeps its random
 * weights.
 * @returns whether the classifier has random weights.
 * @throws {UserError} naming the first weight that is missing or of another shape.
 */
export async function assignInitialWeights(
  variables: ReadonlyMap<string, tf.Variable>,
  initial: InitialWeights,
  config: RunConfig,
): Promise<boolean> {
  checkInitialWeights(initial, config);
  const isReset = initial.model.numClasses !== config.numClasses;
  const weights = new Map(initial.weights);
  if (isReset) {
    const fresh = [...variables].filter(([name]) => name.startsWith("classifier."));
    for (const [name, weight] of await readVariables(new Map(fresh))) weights.set(name, weight);
  }
  assignVariables(variables, weights, initial.source);
  return isReset;
}
