/**
 * The state of a training run in one safetensors file: weights under their own names, Adam's
 * moments under `optimizer.m.NAME` and `optimizer.v.NAME`, the weights' running averages, where the
 * run keeps them, under `ema.NAME`, the rest as JSON in the metadata.
 */
import { parseRunConfig, type RunConfig, storedConfig } from "../config/run.ts";
import { UserError } from "../errors.ts";
import { encodeSealed, readSealedFile, sha256, verifySealedFile } from "./checksums.ts";
import {
  averagePrefix,
  checkDescription,
  checkNumbers,
  checkTensors,
  momentPrefixes,
} from "./consistency.ts";
import type { TensorData } from "./safetensors.ts";
import type { SafetensorsHeader } from "./safetensors_header.ts";
import { writeFileAtomic } from "../files.ts";
import { mergeAdapters } from "../models/lora.ts";
import {
  type FloatTensor,
  progressSchema,
  type TrainingState,
  type WeightsState,
} from "./training_state.ts";

/** Addition to a state that was loaded. */
export interface Loaded {
  /** SHA-256 of the configuration as the file has it, its keys in alphabetical order. */
  configHash: string;
}

/** Format that the metadata of a checkpoint gives. */
export const checkpointFormat = "deno-vit/1";
const { first: prefix1, second: prefix2 } = momentPrefixes;
const reserved = ["optimizer.", averagePrefix];

/**
 * Saves a state at one stroke. The arrays are not copied and must not change until then.
 * @param beforeRename called when the new file is whole and about to take its name
 * @throws {UserError} if the file cannot be written; an older file of that name stays as it was.
 *
 * @example
 * ```ts
 * import { createRunFolder, createShapes, loadState } from "../../mod.ts";
 * import { saveState, preset, selectBackend, trainRun } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * const config = { ...preset("tiny"), transformerLayers: 1, epochs: 1, batchSize: 54 };
 * const folder = await createRunFolder(`${await Deno.makeTempDir()}/run`, config);
 * await trainRun({ config, dataset: createShapes({ train: 60, test: 20 }), folder });
 * const state = await loadState(folder.last);
 * await saveState(`${folder.path}/copy.safetensors`, { ...state, versions: { note: "a copy" } });
 * ```
 */
export async function saveState(
  path: string,
  state: TrainingState,
  beforeRename?: () => Promise<void>,
): Promise<void> {
  const tensors = namedWeights(state.weights);
  for (
    const [beside, prefix] of [
      [state.moments1, prefix1],
      [state.moments2, prefix2],
      [state.averages ?? new Map<string, FloatTensor>(), averagePrefix],
    ] as const
  ) {
    for (const [name, tensor] of beside) {
      const weight = state.weights.get(name);
      if (weight === undefined || `${weight.shape}` !== `${tensor.shape}`) {
        throw new RangeError(`Tensor ${prefix}${name} [${tensor.shape}] has no such weight`);
      }
      tensors.set(prefix + name, { dtype: "F32", ...tensor });
    }
  }
  await write(path, "state", tensors, state, beforeRename);
}

/**
 * Saves weights without moments, a third of a whole state's size; what LoRA adds is merged into them.
 * @throws {UserError} if the file cannot be written; an older file of that name stays as it was.
 */
export async function saveWeights(path: string, state: WeightsState): Promise<void> {
  const weights = mergeAdapters(state.weights, state.config);
  await write(path, "weights", namedWeights(weights), state);
}

/**
 * Loads a whole state, every byte of it verified.
 * @throws {UserError} if the file is absent, damaged, foreign, contradicts itself, or holds weights
 * only.
 *
 * @example
 * ```ts
 * import { createRunFolder, createShapes, loadState } from "../../mod.ts";
 * import { preset, selectBackend, trainRun } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * const config = { ...preset("tiny"), transformerLayers: 1, epochs: 1, batchSize: 54 };
 * const folder = await createRunFolder(`${await Deno.makeTempDir()}/run`, config);
 * await trainRun({ config, dataset: createShapes({ train: 60, test: 20 }), folder });
 * const { step, moments1 } = await loadState(folder.last);
 * console.log(step, moments1.has("classifier.kernel")); // 1 true
 * ```
 */
export async function loadState(path: string): Promise<TrainingState & Loaded> {
  const { metadata, tensors } = await readSealedFile(path, checksOf(path, "state"));
  const { kind: _, ...state } = await parseMetadata(metadata, path);
  const maps = ["", prefix1, prefix2, averagePrefix].map((prefix) => ({
    prefix,
    map: new Map<string, FloatTensor>(),
  }));
  for (const [name, tensor] of tensors) {
    // The empty prefix fits every name.
    const { prefix, map } = maps.findLast((each) => name.startsWith(each.prefix))!;
    map.set(name.slice(prefix.length), floatTensor(tensor));
  }
  const [weights, moments1, moments2, averages] = maps.map(({ map }) => map);
  return {
    ...state,
    ...{ weights: weights!, moments1: moments1!, moments2: moments2! },
    ...(averages!.size > 0 && { averages }),
  };
}

/**
 * Loads the weights of a whole state or of a file of weights, or the running averages of a whole
 * state; only they are read and verified. What LoRA adds is merged into them.
 * @throws {UserError} if the file is absent, damaged or foreign, contradicts itself, or has no averages.
 *
 * @example
 * ```ts
 * import { createRunFolder, createShapes, loadWeights } from "../../mod.ts";
 * import { preset, selectBackend, trainRun } from "../../mod.ts";
 *
 * await selectBackend("auto");
 * const config = { ...preset("tiny"), transformerLayers: 1, epochs: 1, batchSize: 54 };
 * const folder = await createRunFolder(`${await Deno.makeTempDir()}/run`, config);
 * await trainRun({ config, dataset: createShapes({ train: 60, test: 20 }), folder });
 * const { weights, classNames } = await loadWeights(folder.best);
 * console.log(weights.has("classifier.kernel"), classNames.length); // true 100
 * ```
 */
export async function loadWeights(
  path: string,
  which: "weights" | "averages" = "weights",
): Promise<WeightsState & Loaded> {
  const prefix = which === "averages" ? averagePrefix : "";
  const select = (name: string) => prefix ? name.startsWith(prefix) : !isReserved(name);
  const { metadata, tensors } = await readSealedFile(path, { ...checksOf(path), select });
  const { kind: _, ...state } = await parseMetadata(metadata, path);
  if (tensors.size === 0) {
    throw new UserError(
      `${path} has no running average of its weights: the run's ema is ${state.config.ema}; take ` +
        `the best or the last weights.`,
    );
  }
  const weights = new Map<string, FloatTensor>();
  for (const [name, tensor] of tensors) weights.set(name.slice(prefix.length), floatTensor(tensor));
  return { ...state, weights: mergeAdapters(weights, state.config) };
}

function isReserved(name: string): boolean {
  return reserved.some((prefix) => name.startsWith(prefix));
}

/**
 * Makes all checks of {@linkcode loadState} with one tensor in memory at a time.
 * @returns the step of the state.
 * @throws {UserError} as {@linkcode loadState}.
 */
export async function verifyState(path: string): Promise<number> {
  const metadata = await verifySealedFile(path, checksOf(path, "state"));
  return (await parseMetadata(metadata, path)).step;
}

/** The checks of a checkpoint while it is read; of any kind unless one is named. */
function checksOf(path: string, needed?: "state") {
  return {
    // Before a tensor is read, so that a foreign file takes no memory.
    checkHeader: async ({ metadata, entries }: SafetensorsHeader) => {
      const { kind, ...described } = await parseMetadata(metadata, path);
      if (needed !== undefined && kind !== needed) {
        throw new UserError(
          `${path} holds weights only, without the optimizer's state; resume from another ` +
            `checkpoint or begin a new run from these weights.`,
        );
      }
      checkDescription(described, path);
      checkTensors(entries, described, kind, path);
    },
    checkTensor: (name: string, { data }: TensorData) =>
      checkNumbers(name, data as Float32Array, path),
  };
}

/** SHA-256 of a configuration as it is stored, independent of the order of its keys. */
export function hashConfig(config: object): Promise<string> {
  const sorted = Object.entries(config).sort(([a], [b]) => a < b ? -1 : 1);
  return sha256(new TextEncoder().encode(JSON.stringify(Object.fromEntries(sorted))));
}

function namedWeights(weights: ReadonlyMap<string, FloatTensor>): Map<string, TensorData> {
  const tensors = new Map<string, TensorData>();
  for (const [name, weight] of weights) {
    if (isReserved(name)) throw new RangeError(`A weight cannot be named ${name}`);
    tensors.set(name, { dtype: "F32", ...weight });
  }
  return tensors;
}

async function write(
  path: string,
  kind: "state" | "weights",
  tensors: Map<string, TensorData>,
  state: WeightsState,
  beforeRename?: () => Promise<void>,
): Promise<void> {
  const progress = Object.fromEntries(
    Object.keys(progressSchema.shape).map((key) => [key, state[key as keyof WeightsState]]),
  );
  const chunks = await encodeSealed(tensors, {
    format: checkpointFormat,
    kind,
    config: JSON.stringify(storedConfig(state.config)),
    configHash: await hashConfig(storedConfig(state.config)),
    progress: JSON.stringify(progress),
  });
  await writeFileAtomic(path, chunks, beforeRename);
}

async function parseMetadata(metadata: Record<string, string>, path: string) {
  if (metadata.format !== checkpointFormat) {
    throw new UserError(
      `${path} is not a checkpoint of this version: its format is ` +
        `${JSON.stringify(metadata.format?.slice(0, 40) ?? "unnamed")}, not "${checkpointFormat}".`,
    );
  }
  const { kind } = metadata;
  if (kind !== "state" && kind !== "weights") throw inconsistent(path, "kind");
  const progress = progressSchema.safeParse(parseJson(metadata.progress, path, "progress"));
  if (!progress.success) throw inconsistent(path, "progress");
  const stored = parseJson(metadata.config, path, "config");
  const config = parseConfig(stored, path);
  // Of what the file says: fields that are younger than the file have their defaults only in `config`.
  const configHash = await hashConfig(stored as object);
  if (configHash !== metadata.configHash) throw inconsistent(path, "configHash");
  return { kind, config, configHash, ...progress.data } as const;
}

function parseConfig(value: unknown, path: string): RunConfig {
  try {
    return parseRunConfig(value);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(
      `${path} holds a configuration that this version cannot use: ${error.message}`,
    );
  }
}

function parseJson(text: string | undefined, path: string, key: string): unknown {
  if (text === undefined || text.length > 1 << 20) throw inconsistent(path, key);
  try {
    return JSON.parse(text);
  } catch {
    throw inconsistent(path, key);
  }
}

/** @param tensor of a file whose dtypes have been checked */
function floatTensor({ shape, data }: TensorData): FloatTensor {
  return { shape, data: data as Float32Array };
}

function inconsistent(path: string, key: string): UserError {
  return new UserError(
    `${path} is no usable checkpoint: its metadata ${key} is missing or wrong; use another checkpoint.`,
  );
}
