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
import { isAdapter } from "../models/lora.ts";
import { loadPlainWeights, plainFormat } from "../export/portable_model.ts";
import { type LayoutName, layouts, type Preparation } from "../foreign/layouts.ts";
import { atImageSize, findForeign, loadForeign } from "../foreign/load.ts";
import { classDifference } from "./evaluation_data.ts";
import { assignVariables, readVariables } from "./weights.ts";

/** Weights of another run, of an exported model, or of another library's. */
export interface InitialWeights {
  /** Their file. */
  source: string;
  /** By plain name, such as `blocks.0.attention.query.kernel`. */
  weights: ReadonlyMap<string, FloatTensor>;
  /** Of their model. */
  model: ViTConfig;
  /** In the order of the logits; none where the file does not name them. */
  classNames: readonly string[];
  /** What comes along with weights of another library. */
  foreign?: {
    /** Whose rule brings their positions to another image size. */
    layout: LayoutName;
    /** How they want their images, in the fields of a run. */
    preparation: Preparation;
    /** What a person should know of, a sentence each. */
    notices: readonly string[];
  };
}

/** Fields in which the two models may differ: no weight outside the classifier hangs on them. */
const mayDiffer: readonly string[] = [
  "numClasses",
  "attentionDropout",
  "mlpDropout",
  "headDropout",
  "dropPath",
];

/** What may differ beside that from other libraries' weights: there is a rule for it, or no weight. */
const mayDifferForeign: readonly string[] = ["imageSize", "initializer"];

/** Weights that a model may be made with: all but the classifier's. */
export function givenWeights({ weights }: InitialWeights): Map<string, FloatTensor> {
  return new Map([...weights].filter(([name]) => !isOfClassifier(name)));
}

function isOfClassifier(name: string): boolean {
  return name.startsWith("classifier.");
}

/**
 * Loads weights from a run's folder (its best, else its last), a checkpoint, exported weights, or a
 * Vision Transformer of timm, Hugging Face or torchvision: a safetensors file, or a folder that has a
 * `model.safetensors` or the index of one in shards.
 * @param options.numHeads attention heads of files that do not say how many they have
 * @throws {UserError} if there is no such file, or it is damaged or of no kind that is known.
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
export async function loadInitialWeights(
  path: string,
  options: { numHeads?: number } = {},
): Promise<InitialWeights> {
  const info = await Deno.stat(path).catch((error) => {
    throw ioError(error, "read", path);
  });
  const files = await findForeign(path);
  const source = files?.path ?? await fileOfRun(path);
  const { format } = source.endsWith(".safetensors") || !info.isDirectory
    ? await formatOf(source)
    : {};
  if (format === checkpointFormat) {
    const { config, weights, classNames } = await loadWeights(source);
    return { source, weights, model: modelConfigOf(config), classNames };
  }
  if (format?.startsWith(plainFormat.split("/")[0]!)) {
    const { config, weights, classNames } = await loadPlainWeights(source);
    return { source, weights, model: config, classNames };
  }
  const model = await loadForeign(files ?? { folder: path, path: source }, options);
  const { weights, config, classNames, layout, preparation, notices } = model;
  return { source, weights, model: config, classNames, foreign: { layout, preparation, notices } };
}

/** The format that a file's metadata names; of an index of shards none. */
async function formatOf(path: string): Promise<Record<string, string>> {
  return path.endsWith(".json") ? {} : await readSafetensorsMetadata(path);
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
export function checkInitialWeights(
  { source, model, foreign }: InitialWeights,
  config: RunConfig,
): void {
  for (const key of Object.keys(modelFields) as (keyof ViTConfig)[]) {
    const [theirs, ours] = [JSON.stringify(model[key]), JSON.stringify(config[key])];
    if (theirs === ours || mayDiffer.includes(key)) continue;
    if (foreign && mayDifferForeign.includes(key)) continue;
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
  { source, model, weights, classNames, foreign }: InitialWeights,
  config: RunConfig,
  ours: readonly string[],
): string | null {
  if (![...weights.keys()].some(isOfClassifier)) return `${source} has none`;
  if (model.numClasses !== config.numClasses) {
    return `${source} has one of ${model.numClasses} classes, this run's has ${config.numClasses}`;
  }
  if (foreign && classNames.length === 0) return `${source} does not name its classes`;
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
  const weights = new Map(atSizeOf(initial, config));
  const fresh = [...variables].filter(([name]) =>
    isAdapter(name) || (difference !== null && isOfClassifier(name))
  );
  for (const [name, weight] of await readVariables(new Map(fresh))) weights.set(name, weight);
  assignVariables(variables, weights, initial.source);
  return difference && `The classifier starts from random weights: ${difference}.`;
}

/** Weights for a run's image size; those of another library have a rule for that. */
function atSizeOf(
  { weights, model, foreign }: InitialWeights,
  { imageSize }: RunConfig,
): ReadonlyMap<string, FloatTensor> {
  if (!foreign) return weights;
  return atImageSize({ config: model, weights, layout: foreign.layout }, imageSize).weights;
}

/** The fields of a run that weights of another library bring along: their model and their images. */
export function fieldsOf({ model, foreign }: InitialWeights): Partial<RunConfig> {
  return { ...model, ...foreign?.preparation };
}

/**
 * What a person should know of weights of another library, a sentence each; none of others.
 */
export function noticesOfWeights({ model, foreign }: InitialWeights, config: RunConfig): string[] {
  if (!foreign) return [];
  const { title } = layouts[foreign.layout];
  const [from, to] = [model, config].map(({ imageSize, patchSize }) => imageSize / patchSize);
  return [
    ...foreign.notices,
    ...(from === to ? [] : [
      `The position embedding is interpolated from ${from}x${from} to ${to}x${to} patches by the ` +
      `rule of ${title}.`,
    ]),
  ];
}
