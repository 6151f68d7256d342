/**
 * Base of our layers: weights drawn from the counter-based generator, and the step key that
 * dropout needs.
 *
 * tfjs hands `kwargs` of `model.apply(x, kwargs)` to every layer's `call`. The trainer passes
 * `{ training: true, stepKey }`; a caller that passes only `training` (as `model.fit` does) gets a
 * key that advances by itself.
 */
import { tf } from "../tfjs.ts";
import type { Dropout } from "../kernels/dropout.ts";
import { randomUniform, streamKey, streamOfName } from "../random.ts";

/** Options of a layer's `call`. */
export interface CallOptions {
  /** Whether dropout is on. */
  training?: boolean;
  /** int32 `[2]`: (seed, step), the key of this step's dropout masks. */
  stepKey?: tf.Tensor1D;
}

/** Options of every layer. */
export interface VitLayerConfig {
  /** Its name within the model, which its weights and its random numbers follow. */
  name?: string;
  /** Seed of the initial weights. */
  seed?: number;
  /** Options of the layer's own. */
  [key: string]: unknown;
}

/** The shape of a layer's inputs as tfjs passes it to `build` and `computeOutputShape`. */
export type InputShape = tf.Shape | tf.Shape[];

let ownStep = 0;

/**
 * The base of our layers.
 *
 * @example
 * ```ts
 * import { Dense, selectBackend, tf, VitLayer } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const [one, other] = [1, 1].map((seed) => new Dense({ name: "head", seed, units: 3 }));
 * const x = tf.ones([1, 8]);
 * const gap = tf.sub(one!.apply(x) as tf.Tensor, other!.apply(x) as tf.Tensor).abs().max();
 * console.log(one instanceof VitLayer, await gap.data()); // true, 0
 * ```
 */
export abstract class VitLayer extends tf.layers.Layer {
  /** Seed of the initial weights and of dropout that gets no step key. */
  readonly seed: number;

  /** Makes a layer from name and seed. */
  constructor(config: VitLayerConfig) {
    super(config as ConstructorParameters<typeof tf.layers.Layer>[0]);
    this.seed = config.seed ?? 0;
  }

  /** A weight uniform in [-limit, limit), named `<layer>/<name>`. */
  protected uniformWeight(name: string, shape: number[], limit: number): tf.LayerVariable {
    const key = streamKey(this.seed, streamOfName(`${this.name}/${name}`), 0);
    return this.weight(name, shape, (index) => (2 * randomUniform(key, index) - 1) * limit);
  }

  /** A weight with one value everywhere, named `<layer>/<name>`. */
  protected constantWeight(name: string, shape: number[], value: number): tf.LayerVariable {
    return this.weight(name, shape, () => value);
  }

  /** A weight with a value for each element, named `<layer>/<name>`. */
  private weight(
    name: string,
    shape: number[],
    valueAt: (index: number) => number,
  ): tf.LayerVariable {
    const size = tf.util.sizeFromShape(shape);
    const initializer = {
      apply: () => tf.tensor(Float32Array.from({ length: size }, (_, i) => valueAt(i)), shape),
    };
    // tfjs exports no base class for initializers; it only ever calls `apply`.
    type Initializer = Parameters<tf.layers.Layer["addWeight"]>[3];
    return this.addWeight(name, shape, "float32", initializer as unknown as Initializer);
  }

  /** This step's dropout of the given rate, or none outside training. */
  protected dropout(rate: number, use: string, options: CallOptions): Dropout | undefined {
    if (!options.training || rate === 0) return undefined;
    const stepKey = options.stepKey ?? tf.tensor1d([this.seed, ownStep++], "int32");
    return { rate, stream: streamOfName(`${this.name}/${use}`), stepKey };
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), seed: this.seed };
  }
}

/** Glorot-uniform's limit for a dense kernel. */
export function glorotLimit(fanIn: number, fanOut: number): number {
  return Math.sqrt(6 / (fanIn + fanOut));
}

/** The first of one or many inputs, and the second (the residual) when there is one. */
export function inputAndResidual(inputs: tf.Tensor | tf.Tensor[]): [tf.Tensor, tf.Tensor?] {
  return Array.isArray(inputs) ? [inputs[0]!, inputs[1]] : [inputs];
}

/** The shape of the first of one or many inputs. */
export function firstShape(shape: InputShape): tf.Shape {
  return Array.isArray(shape[0]) ? shape[0] as tf.Shape : shape as tf.Shape;
}
