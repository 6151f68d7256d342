/** Weights and optimizer state between the device and a checkpoint. */
import { tf } from "../tfjs.ts";
import { withGpuCheck } from "../backend/device.ts";
import type { FloatTensor, TrainingState } from "../checkpoint/training_state.ts";
import { UserError } from "../errors.ts";
import { namedVariables } from "../models/vit_classifier.ts";
import type { AdamW } from "../optim/adamw.ts";
import { WeightAverage } from "../optim/weight_average.ts";

/**
 * Replaces the weights of a model.
 * @param source named in the error
 * @throws {UserError} naming the first weight that is missing or of another shape
 *
 * @example
 * ```ts
 * import { createViTClassifier, modelConfigOf, preset, selectBackend } from "../../mod.ts";
 * import { assignWeights, namedVariables, readWeights } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const model = createViTClassifier(modelConfigOf(preset("tiny")), { seed: 1 });
 * const weights = await readWeights(namedVariables(model));
 * weights.get("classifier.bias")!.data.fill(0);
 * assignWeights(model, weights, "of the example");
 * ```
 */
export function assignWeights(
  model: tf.LayersModel,
  weights: ReadonlyMap<string, FloatTensor>,
  source: string,
): void {
  assignVariables(namedVariables(model), weights, source);
}

/** As {@linkcode assignWeights}, on the named variables alone. */
export function assignVariables(
  variables: ReadonlyMap<string, tf.Variable>,
  weights: ReadonlyMap<string, FloatTensor>,
  source: string,
): void {
  for (const [name, variable] of variables) {
    const weight = weights.get(name);
    if (!weight || `${weight.shape}` !== `${variable.shape}`) {
      const found = weight ? `has the shape [${weight.shape}]` : "is missing";
      throw new UserError(
        `The checkpoint ${source} is of another model: its weight ${name} ${found}, ` +
          `this model needs [${variable.shape}].`,
      );
    }
  }
  tf.tidy(() => {
    for (const [name, variable] of variables) {
      const { data, shape } = weights.get(name)!;
      variable.assign(tf.tensor(data, [...shape]));
    }
  });
}

/**
 * Puts weights and moments of a state on the device.
 * @throws {UserError} naming the first weight that is missing or of another shape
 */
export function restoreState(
  state: Pick<TrainingState, "weights" | "moments1" | "moments2" | "step">,
  variables: ReadonlyMap<string, tf.Variable>,
  optimizer: AdamW,
): void {
  assignVariables(variables, state.weights, "to resume");
  const moments = new Map<string, { m: Float32Array; v: Float32Array }>();
  for (const [name, variable] of variables) {
    const [m, v] = [state.moments1.get(name), state.moments2.get(name)];
    if (m && v) moments.set(variable.name, { m: m.data, v: v.data });
  }
  optimizer.restore(state.step, moments);
}

/**
 * The running average of variables, from a state or from their values of now.
 * @returns undefined where `decay` is 0
 */
export function averageOf(
  variables: ReadonlyMap<string, tf.Variable>,
  decay: number,
  state?: Pick<TrainingState, "averages">,
): WeightAverage | undefined {
  if (decay === 0) return undefined;
  const restored = new Map<string, Float32Array>();
  for (const [name, variable] of variables) {
    const average = state?.averages?.get(name);
    if (average) restored.set(variable.name, average.data);
  }
  return new WeightAverage([...variables.values()], decay, restored);
}

/**
 * Reads weights, moments and averages from the device; later steps do not change the arrays.
 * @param trained those of the variables that have moments and an average of their own
 */
export async function readState(
  variables: ReadonlyMap<string, tf.Variable>,
  trained: ReadonlyMap<string, tf.Variable>,
  optimizer: AdamW,
  average?: WeightAverage,
): Promise<Pick<TrainingState, "weights" | "moments1" | "moments2" | "averages">> {
  const weights = await readVariables(variables);
  const moments = await withGpuCheck(() => optimizer.readMoments(trained.values()));
  const averages = average && await withGpuCheck(() => average.read());
  const named = (
    of: ReadonlyMap<string, tf.Variable>,
    dataOf: (variable: tf.Variable, plain: string) => Float32Array,
  ) =>
    new Map([...of].map(([plain, variable]): [string, FloatTensor] => {
      return [plain, { shape: variable.shape, data: dataOf(variable, plain) }];
    }));
  return {
    weights,
    moments1: named(trained, ({ name }) => moments.get(name)!.m),
    moments2: named(trained, ({ name }) => moments.get(name)!.v),
    // Of what stays as it is, the average is what it is.
    ...(averages && {
      averages: named(
        variables,
        ({ name }, plain) => averages.get(name) ?? weights.get(plain)!.data,
      ),
    }),
  };
}

/**
 * Reads variables from the device.
 *
 * @example
 * ```ts
 * import { createViTClassifier, modelConfigOf, preset, selectBackend } from "../../mod.ts";
 * import { namedVariables, readWeights } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const model = createViTClassifier(modelConfigOf(preset("tiny")), { seed: 1 });
 * const weights = await readWeights(namedVariables(model));
 * console.log(weights.get("classifier.bias")!.data.length); // 100
 * ```
 */
export async function readVariables(
  variables: ReadonlyMap<string, tf.Variable>,
): Promise<Map<string, FloatTensor>> {
  // At once, because on webgpu each read alone waits for some 11 ms.
  const read = [...variables].map(async ([name, variable]): Promise<[string, FloatTensor]> => {
    return [name, { shape: variable.shape, data: await variable.data<"float32">() }];
  });
  return new Map(await withGpuCheck(() => Promise.all(read)));
}

/** Whether all numbers are. */
export function isAllFinite(data: Float32Array): boolean {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return false;
  return true;
}
