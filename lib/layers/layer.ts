/**
 * Base of our layers: weights drawn from the counter-based generator, and the step key that
 * dropout needs.
 *
 * tfjs hands `kwargs` of `model.apply(x, kwargs)` to every layer's `call`. The trainer passes
 * `{ training: true, stepKey }`; a caller that passes only `training` (as `model.fit` does) gets a
 * key that advances by itself.
 */
import { uploadAtOnce } from "../backend/compute.ts";
import { tf } from "../tfjs.ts";
import { dropPath } from "../kernels/drop_path.ts";
import type { Dropout } from "../kernels/dropout.ts";
import { scaleChannels } from "../kernels/scale_channels.ts";
import { randomNormal, randomUniform, type StreamKey, streamKey, streamOfName } from "../random.ts";

/**
 * How the kernels of dense layers and learned tokens and positions begin: as in the Keras example
 * (Glorot-uniform, positions uniform), or all from a normal distribution of deviation 0.02 that is
 * cut at two deviations, as in BERT and the ViTs after it.
 */
export const initializers = ["glorot", "truncatedNormal"] as const;

/** @internal */
type Initializers = typeof initializers;

/** An initializer's name. */
export type Initializer = Initializers[number];

/** The forms of GELU: by the normal distribution's function, or by the tanh that comes near it. */
export const gelus = ["exact", "tanh"] as const;

/** @internal */
type Gelus = typeof gelus;

/** A form of GELU. */
export type GeluForm = Gelus[number];

const TRUNCATED_DEVIATION = 0.02;

/** Values that weights begin with instead of random ones, by plain name. */
export type GivenWeights = ReadonlyMap<
  string,
  { readonly shape: readonly number[]; readonly data: Float32Array }
>;

/** Options of a layer's `call`. */
export interface CallOptions {
  /** Whether dropout is on. */
  training?: boolean;
  /**
   * int32 `[2]`: (seed, step), the key of this step's dropout masks; or `[3]`, with the place of the
   * first image within the batch, of which this is then a part.
   */
  stepKey?: tf.Tensor1D;
}

/** Options of every layer. */
export interface VitLayerConfig {
  /** Its name within the model, which its weights and its random numbers follow. */
  name?: string;
  /** Seed of the initial weights. */
  seed?: number;
  /** How its weights begin; glorot by default. */
  initializer?: Initializer;
  /** Values that its weights begin with; what is not there begins by the rule. */
  given?: GivenWeights;
  /** Options of the layer's own. */
  [key: string]: unknown;
}

/** How a residual branch joins its residual. */
export interface BranchConfig {
  /** Share of images for which the branch is left out of its residual, 0 to below 1. */
  dropPathRate?: number;
  /**
   * LayerScale (Touvron et al., 2021): where the learned factor of each of the branch's channels
   * begins; 0 for no factors.
   */
  layerScale?: number;
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
  /** Rule by which its weights begin. */
  readonly initializer: Initializer;
  private given?: GivenWeights;

  /** Makes a layer from name and seed. */
  constructor(config: VitLayerConfig) {
    super(config as ConstructorParameters<typeof tf.layers.Layer>[0]);
    this.seed = config.seed ?? 0;
    this.initializer = config.initializer ?? "glorot";
    this.given = config.given;
  }

  /**
   * A random weight, named `<layer>/<name>`: uniform in [-limit, limit), or by the layer's other
   * initializer.
   */
  protected randomWeight(name: string, shape: number[], limit: number): tf.LayerVariable {
    if (this.initializer === "truncatedNormal") return this.truncatedWeight(name, shape);
    return this.uniformWeight(name, shape, limit);
  }

  /** A weight uniform in [-limit, limit), whatever the initializer. */
  protected uniformWeight(name: string, shape: number[], limit: number): tf.LayerVariable {
    const key = this.keyOf(name);
    return this.weight(name, shape, (index) => (2 * randomUniform(key, index) - 1) * limit);
  }

  /** A weight of the truncated normal distribution. */
  private truncatedWeight(name: string, shape: number[]): tf.LayerVariable {
    return this.weight(name, shape, (index) => {
      // What lies beyond is drawn again, each time from a key of its own.
      for (let draw = 0;; draw++) {
        const value = randomNormal(this.keyOf(name, draw), index);
        if (Math.abs(value) <= 2) return value * TRUNCATED_DEVIATION;
      }
    });
  }

  /** A weight of the normal distribution of that deviation, whatever the initializer. */
  protected normalWeight(name: string, shape: number[], deviation: number): tf.LayerVariable {
    const key = this.keyOf(name);
    return this.weight(name, shape, (index) => randomNormal(key, index) * deviation);
  }

  /** Key of a weight's random numbers. */
  private keyOf(name: string, draw = 0): StreamKey {
    return streamKey(this.seed, streamOfName(`${this.name}/${name}`), draw);
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
    const given = this.given?.get(`${this.name}.${name}`);
    // Of another shape it is refused by whoever assigns it.
    const taken = given?.data.length === size ? given.data : undefined;
    const initializer = {
      apply: () => {
        const values = taken ?? Float32Array.from({ length: size }, (_, i) => valueAt(i));
        const tensor = tf.tensor(values, shape);
        if (taken) uploadAtOnce(tensor);
        return tensor;
      },
    };
    // tfjs exports no base class for initializers; it only ever calls `apply`.
    type Initializer = Parameters<tf.layers.Layer["addWeight"]>[3];
    return this.addWeight(name, shape, "float32", initializer as unknown as Initializer);
  }

  /** Ends the making of weights; what they were made from is let go. */
  override build(inputShape: InputShape): void {
    this.given = undefined;
    super.build(inputShape);
  }

  /** This step's dropout of the given rate, or none outside training. */
  protected dropout(rate: number, use: string, options: CallOptions): Dropout | undefined {
    if (!options.training || rate === 0) return undefined;
    const stepKey = options.stepKey ?? tf.tensor1d([this.seed, ownStep++], "int32");
    return { rate, stream: streamOfName(`${this.name}/${use}`), stepKey };
  }

  /** LayerScale's weight `[dim]` of a branch that begins so, or none; the last of a layer's weights. */
  protected layerScaleWeight(dim: number, value: number): tf.LayerVariable | undefined {
    return value > 0 ? this.constantWeight("layer_scale.gamma", [dim], value) : undefined;
  }

  /**
   * The end of a residual branch: what it gives, times LayerScale's factors, is added to the residual,
   * in training with stochastic depth of the given rate.
   * @param branch computes the branch, with the residual added where it is given one
   */
  protected withResidual(
    branch: (residual?: tf.Tensor) => tf.Tensor,
    residual: tf.Tensor | undefined,
    { rate, gamma }: { rate: number; gamma?: tf.LayerVariable },
    options: CallOptions,
  ): tf.Tensor {
    const scaled = gamma
      ? (added?: tf.Tensor) => scaleChannels(branch(), gamma.read() as tf.Tensor1D, added)
      : branch;
    const path = residual && this.dropout(rate, "path", options);
    return path ? dropPath(scaled(), residual, path) : scaled(residual);
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    const { seed, initializer } = this;
    // Younger than 0.1.0, whose models keep their bytes.
    return { ...super.getConfig(), seed, ...(initializer === "glorot" ? {} : { initializer }) };
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
