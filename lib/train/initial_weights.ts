/** The weights that a new run may begin from instead of random ones. */
import type { tf } from "../tfjs.ts";
import { openRunFolder } from "../checkpoint/run_folder.ts";
import { readSafetensorsMetadata } from "../checkpoint/safetensors.ts";
import { checkpointFormat, loadWeights } from "../checkpoint/state.ts";
import type { FloatTensor } from "../checkpoint/training_state.ts";
import { ioError } from "../io_error.ts";
import { modelFields, type ViTConfig } from "../config/model.ts";
import { modelConfigOf, type RunConfig } from "../config/run.ts";
import { UserError } from "../errors.ts";
import { loadPlainWeights } from "../export/portable_model.ts";
import { classDifference } from "./evaluation_data.ts";
import { assignVariables, readVariables } from "./weights.ts";

/** Weights of another run or of an exported model. */
export interface InitialWeights {
  /** Their file. */
  source: string;
  /** By plain name, such as `blocks.0.attention.query.kernel`. */
  weights: ReadonlyMap<string, FloatTensor>;
  /** Of their model. */
  model: ViTConfig;
  /** In the order of the logits. */
  classNames: readonly string[];
}

/** Fields in which the two models may differ: no weight outside the classifier hangs on them. */
const mayDiffer: readonly string[] = [
  "numClasses",
  "attentionDropout",
  "mlpDropout",
  "headDropout",
  "dropPath",
];

/**
 * Loads weights from a run's folder (its best, else its last), a checkpoint, or exported weights.
 * @throws {UserError} if there is no such file, or it is damaged or foreign.
 *
 * @example
 * ```ts
 * import { createRunFolder, createShapes, loadInitialWeights } from "../../mod.ts";
 * import { preset, selectBackend, trainRun } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * const config = { ...preset("tiny"), transformerLayers: 1, epochs: 1, batchSize: 54 };
 * const folder = await createRunFolder(`${await Deno.makeTempDir()}/run`, config);
 * await trainRun({ config, dataset: createShapes({ train: 60, test: 20 }), folder });
 * const initial = await loadInitialWeights(folder.path);
 * const next = await createRunFolder(`${folder.path}-2`, config, initial.source);
 * const dataset = createShapes({ train: 60, test: 20, seed: 1 });
 * await trainRun({ config, dataset, folder: next, start: { initial } });
 * ```
 */
export async function loadInitialWeights(path: string): Promise<InitialWeights> {
  const info = await Deno.stat(path).catch((error) => {
    throw ioError(error, "read", path);
  });
  const source = info.isDirectory ? await fileOfRun(path) : path;
  const { format } = await readSafetensorsMetadata(source);
  if (format !== checkpointFormat) {
    const { config, weights, classNames } = await loadPlainWeights(source);
    return { source, weights, model: config, classNames };
  }
  const { config, weights, classNames } = await loadWeights(source);
  return { source, weights, model: modelConfigOf(config), classNames };
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
 * Reason why a classifier cannot be taken over, as a clause; null where it can. Equal counts are
 * not enough: the classes must be the same ones in the same order.
 * @param ours names of the classes of the run's data
 */
function classifierDifference(
  { source, model, classNames }: InitialWeights,
  config: RunConfig,
  ours: readonly string[],
): string | null {
  if (model.numClasses !== config.numClasses) {
    return `${source} has one of ${model.numClasses} classes, this run's has ${config.numClasses}`;
  }
  return classDifference({ name: source, classNames }, { name: "this run", classNames: ours });
}

/**
 * Puts initial weights on the device; a classifier of other classes keeps its random weights.
 * @param classNames of the run's data, in the order of the logits
 * @returns a sentence that says so where the classifier has random weights, else null.
 * @throws {UserError} naming the first weight that is missing or of another shape.
 */
export async function assignInitialWeights(
  variables: ReadonlyMap<string, tf.Variable>,
  initial: InitialWeights,
  config: RunConfig,
  classNames: readonly string[],
): Promise<string | null> {
  checkInitialWeights(initial, config);
  const difference = classifierDifference(initial, config, classNames);
  const weights = new Map(initial.weights);
  if (difference !== null) {
    const fresh = [...variables].filter(([name]) => name.startsWith("classifier."));
    for (const [name, weight] of await readVariables(new Map(fresh))) weights.set(name, weight);
  }
  assignVariables(variables, weights, initial.source);
  return difference && `The classifier starts from random weights: ${difference}.`;
}
