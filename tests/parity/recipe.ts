/**
 * Reference values of a recipe, made with PyTorch. The file's tensors:
 *
 * - `cosine`, `cosine_warmup`, `linear_warmup`: the learning rate of each step, peak 1e-3;
 * - `loss.logits`, `loss.labels`, `loss.permutation`, and for each kind of softened labels, such as
 *   `mixed_0.37_smoothing_0.1`, the mean loss `loss.KIND` and its gradient `grad.KIND`; mixed images
 *   have the second labels that the permutation gives, and 0.37 is the share of their own;
 * - `ema.weights`: the start and then the weights after each update; `ema.after`: their average with
 *   a decay of 0.99 and its warm-up.
 */
import type { TensorData } from "../../lib/checkpoint/safetensors.ts";
import { shown } from "../../lib/shown.ts";
import { type Softening, softmaxCrossEntropy } from "../../lib/kernels/softmax_cross_entropy.ts";
import { type Scheduled, scheduleFactor } from "../../lib/optim/schedules.ts";
import { WeightAverage } from "../../lib/optim/weight_average.ts";
import { tf } from "../../lib/tfjs.ts";
import { ReferenceFile } from "./reference_file.ts";

/** One reference tensor beside ours. */
export interface Compared {
  name: string;
  actual: ArrayLike<number>;
  expected: ArrayLike<number>;
  /** Largest absolute difference that is allowed. */
  tolerance: number;
}

const tolerances = { schedule: 1e-9, loss: 1e-5, ema: 1e-6 };

/** Epochs are steps here. */
const schedules: Record<string, Scheduled> = Object.fromEntries(
  ([
    ["cosine", "cosine", 0, 40, 0],
    ["cosine_warmup", "cosine", 8, 40, 1e-5],
    ["linear_warmup", "linear", 5, 30, 0],
  ] as const).map(([name, schedule, warmupEpochs, epochs, learningRateFloor]) => [
    name,
    { schedule, warmupEpochs, epochs, learningRateFloor, learningRate: 1e-3 },
  ]),
);

const kind = /^(mixed_(0?\.\d+|0|1))?_?(label_smoothing_|smoothing_)?(0?\.\d+)?$/;

/** Whether a file holds reference values of a recipe, by its tensors. */
export function isRecipe(tensors: ReadonlyMap<string, TensorData>): boolean {
  const names = [...tensors.keys()];
  return names.some((name) => Object.hasOwn(schedules, name) || /^(loss|ema)\./.test(name));
}

/**
 * Computes what a file has references of, on the current backend.
 * @throws {UserError} if a tensor is missing, unknown, of another shape or type, or has wrong numbers.
 */
export async function compareRecipe(
  tensors: ReadonlyMap<string, TensorData>,
  path: string,
): Promise<Compared[]> {
  const file = new RecipeFile(tensors, path);
  const compared = [...file.schedules(), ...await file.losses(), ...await file.average()];
  file.assertAllUsed();
  if (compared.length === 0) throw file.unusable("it holds nothing to compare");
  return compared;
}

class RecipeFile extends ReferenceFile {
  *schedules(): Generator<Compared> {
    for (const [name, config] of Object.entries(schedules)) {
      if (!this.tensors.has(name)) continue;
      const expected = this.floats(name, [config.epochs]);
      const actual = Array.from(expected, (_, step) => 1e-3 * scheduleFactor(config, step, 1));
      yield { name: `schedule.${name}`, actual, expected, tolerance: tolerances.schedule };
    }
  }

  async losses(): Promise<Compared[]> {
    const kinds = [...this.tensors.keys()].filter((name) =>
      /^loss\.(?!logits|labels|perm)/.test(name)
    );
    if (kinds.length === 0) return [];
    const [batch = 0, classes = 0] = this.tensors.get("loss.logits")?.shape ?? [];
    const logits = this.floats("loss.logits", [batch, classes]);
    const labels = this.integers("loss.labels", batch, classes);
    const permutation = this.integers("loss.permutation", batch, batch);
    const second = Int32Array.from(permutation, (from) => labels[from]!);
    const compared: Compared[] = [];
    for (const name of kinds) {
      const { share, smoothing } = this.softeningOf(name);
      const gradient = name.replace("loss.", "grad.");
      const expected = [this.floats(name, []), this.floats(gradient, [batch, classes])];
      const [loss, grad] = tf.tidy(() => {
        const softening: Softening = share === undefined ? { smoothing } : {
          smoothing,
          second: tf.tensor1d(second, "int32"),
          share: tf.fill([batch], share) as tf.Tensor1D,
        };
        const y = tf.tensor1d(labels, "int32");
        const { value, grad } = tf.valueAndGrad((x) =>
          softmaxCrossEntropy(x as tf.Tensor2D, y, softening).loss
        )(tf.tensor2d(logits, [batch, classes]));
        return [value, grad];
      });
      for (const [i, tensor] of [loss!, grad!].entries()) {
        compared.push({
          name: i === 0 ? name : gradient,
          actual: (await tensor.data()).slice(),
          expected: expected[i]!,
          tolerance: tolerances.loss,
        });
        tensor.dispose();
      }
    }
    return compared;
  }

  async average(): Promise<Compared[]> {
    if (!this.tensors.has("ema.after")) return [];
    const [rows = 0, size = 0] = this.tensors.get("ema.weights")?.shape ?? [];
    const weights = this.floats("ema.weights", [rows, size]);
    const expected = this.floats("ema.after", [size]);
    if (rows === 0 || size === 0) throw this.unusable("its ema.weights is empty");
    const row = (index: number) => tf.tensor1d(weights.slice(index * size, (index + 1) * size));
    const variable = tf.tidy(() => tf.variable(row(0)));
    const average = new WeightAverage([variable], 0.99);
    for (let step = 0; step < rows - 1; step++) {
      tf.tidy(() => {
        variable.assign(row(step + 1));
        average.update(tf.tensor1d(average.shares(step)));
      });
    }
    const actual = (await average.read()).get(variable.name)!.slice();
    average.dispose();
    variable.dispose();
    return [{ name: "ema.after", actual, expected, tolerance: tolerances.ema }];
  }

  /** What the name of a loss says: `mixed_0.37_smoothing_0.1` for example. */
  private softeningOf(name: string): { share?: number; smoothing: number } {
    const found = kind.exec(name.slice("loss.".length));
    const share = found?.[2] === undefined ? undefined : Number(found[2]);
    const smoothing = Number(found?.[4] ?? 0);
    if (!found || (found[3] === undefined) !== (found[4] === undefined)) {
      throw this.unusable(`its ${shown(name)} is a loss of no known kind`);
    }
    return { share, smoothing };
  }
}
