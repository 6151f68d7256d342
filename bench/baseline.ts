/**
 * The same training step as a user of tfjs would write it, from tf ops alone: what our kernels are
 * measured against.
 *
 * It starts from the same weights, sees the same images through the same random transforms, and
 * does all that our step does but for the counting of top-1 and top-5 hits, which is left out in
 * its favour. Dropout masks are its own (`tf.dropout`). The optimizer is `tf.train.adam` with the
 * decay by hand. tfjs rescales epsilon differently from TensorFlow, which changes no cost.
 */
import { preset, type RunConfig } from "../lib/config/run.ts";
import { tf } from "../lib/tfjs.ts";
import type { Preprocessing } from "../lib/data/preprocessing.ts";

/** A batch as it lies in host memory. */
export interface HostBatch {
  /** `[batch, height, width, channels]` bytes. */
  images: Uint8Array;
  /** `[batch]` class indices. */
  labels: Int32Array;
  /** `[batch, 6]`, as `drawTransforms` gives them. */
  transforms: Float32Array;
}

/** The values of a weight. */
export interface InitialWeight {
  shape: number[];
  data: Float32Array;
}

/** Fields that the port reads, or that no step costs more for. */
const ported: ReadonlySet<string> = new Set<keyof RunConfig>([
  ...["imageSize", "patchSize", "channels", "numClasses"] as const,
  ...["projectionDim", "numHeads", "keyDim", "transformerLayers", "transformerUnits"] as const,
  ...["mlpHeadUnits", "classToken", "layerNormEpsilon", "initializer"] as const,
  ...["attentionDropout", "mlpDropout", "headDropout", "flip", "rotation", "zoom"] as const,
  ...["learningRate", "beta1", "beta2", "epsilon", "weightDecay"] as const,
  ...[
    "decayConvention",
    "decayExclude",
    "batchSize",
    "epochs",
    "seed",
    "dataset",
    "labels",
  ] as const,
  ...["validationSplit", "limit"] as const,
]);
const portedPoolings = ["flatten", "mean", "token"];

/** Fields of a configuration whose values the port does not know. */
export function unportedFields(config: RunConfig): (keyof RunConfig)[] {
  const known = preset("keras-cifar100");
  return (Object.keys(config) as (keyof RunConfig)[]).filter((field) =>
    field === "pooling"
      ? !portedPoolings.includes(config.pooling)
      : !ported.has(field) && String(config[field]) !== String(known[field])
  );
}

/** Model, optimizer and training step. Belongs to the tfjs backend it was made under. */
export class Baseline {
  readonly variables: ReadonlyMap<string, tf.Variable>;
  private readonly optimizer: tf.Optimizer;

  /** @param initial weights under the names of `namedVariables`. */
  constructor(
    private readonly config: RunConfig,
    private readonly how: Preprocessing,
    initial: ReadonlyMap<string, InitialWeight>,
  ) {
    this.variables = new Map(
      [...initial].map(([name, { shape, data }]) => [
        name,
        tf.tidy(() => tf.variable(tf.tensor(data, shape))),
      ]),
    );
    const { learningRate, beta1, beta2, epsilon } = config;
    this.optimizer = tf.train.adam(learningRate, beta1, beta2, epsilon);
  }

  /** One training step; returns the mean loss before the update, which the caller disposes. */
  step(batch: HostBatch): tf.Scalar {
    return tf.tidy(() => {
      const images = this.augment(batch);
      const labels = tf.oneHot(tf.tensor1d(batch.labels, "int32"), this.config.numClasses);
      const { value, grads } = tf.variableGrads(
        () => tf.losses.softmaxCrossEntropy(labels, this.logits(images)) as tf.Scalar,
        [...this.variables.values()],
      );
      this.decay();
      this.optimizer.applyGradients(grads);
      return value;
    });
  }

  /** Normalization, resizing and one affine sampling: `[batch, imageSize, imageSize, channels]`. */
  augment({ images, labels, transforms }: HostBatch): tf.Tensor4D {
    const { height, width, channels, mean, variance } = this.how;
    const { imageSize } = this.config;
    return tf.tidy(() => {
      let x = tf.tensor4d(images, [labels.length, height, width, channels], "int32")
        .toFloat()
        .sub(tf.tensor1d(mean))
        .div(tf.tensor1d(variance).sqrt()) as tf.Tensor4D;
      if (height !== imageSize || width !== imageSize) {
        x = tf.image.resizeBilinear(x, [imageSize, imageSize], false, true);
      }
      const maps = tf.tensor2d(transforms, [labels.length, 6]).pad([[0, 0], [0, 2]]) as tf.Tensor2D;
      return tf.image.transform(x, maps, "bilinear", "reflect");
    });
  }

  /** Logits `[batch, numClasses]` in training. */
  private logits(images: tf.Tensor4D): tf.Tensor2D {
    const c = this.config;
    let x = this.encode(this.patches(images));
    for (let i = 0; i < c.transformerLayers; i++) {
      const block = `blocks.${i}`;
      x = x.add(this.attention(this.norm(x, `${block}.norm1`), `${block}.attention`));
      let hidden: tf.Tensor3D = this.norm(x, `${block}.norm2`);
      c.transformerUnits.forEach((_, layer) => {
        hidden = dropout(gelu(this.dense(hidden, `${block}.mlp.${layer}`)), c.mlpDropout);
      });
      x = x.add(hidden);
    }
    let features = dropout(this.pool(this.norm(x, "norm")), c.headDropout);
    c.mlpHeadUnits.forEach((_, layer) => {
      features = dropout(gelu(this.dense(features, `head.${layer}`)), c.headDropout);
    });
    return this.dense(features, "classifier");
  }

  private patches(images: tf.Tensor4D): tf.Tensor3D {
    const { imageSize, patchSize: p, channels } = this.config;
    const [batch, side] = [images.shape[0], imageSize / p];
    return images
      .reshape([batch * side, p, side, p * channels])
      .transpose([0, 2, 1, 3])
      .reshape([batch, side * side, p * p * channels]);
  }

  private encode(patches: tf.Tensor3D): tf.Tensor3D {
    let tokens = this.dense(patches, "patch_encoder.projection");
    if (this.variables.has("patch_encoder.class_token")) {
      const token = this.weight("patch_encoder.class_token");
      tokens = tf.concat3d([token.tile([patches.shape[0], 1, 1]) as tf.Tensor3D, tokens], 1);
    }
    return tokens.add(this.weight("patch_encoder.position_embedding"));
  }

  private attention(x: tf.Tensor3D, name: string): tf.Tensor3D {
    const { numHeads, attentionDropout } = this.config;
    const project = (part: string) => this.dense(x, `${name}.${part}`);
    const attended = attend(
      project("query"),
      project("key"),
      project("value"),
      numHeads,
      attentionDropout,
    );
    return this.dense(attended, `${name}.output`);
  }

  private norm(x: tf.Tensor3D, name: string): tf.Tensor3D {
    const [gamma, beta] = [this.weight(`${name}.gamma`), this.weight(`${name}.beta`)];
    return normalize(x, gamma, beta, this.config.layerNormEpsilon);
  }

  private dense<T extends tf.Tensor>(x: T, name: string): T {
    return dense(x, this.weight(`${name}.kernel`) as tf.Tensor2D, this.weight(`${name}.bias`));
  }

  private pool(tokens: tf.Tensor3D): tf.Tensor2D {
    const [batch, count, dim] = tokens.shape;
    if (this.config.pooling === "flatten") return tokens.reshape([batch, count * dim]);
    if (this.config.pooling === "mean") return tokens.mean(1);
    return tokens.slice([0, 0, 0], [batch, 1, dim]).reshape([batch, dim]);
  }

  private decay(): void {
    const { weightDecay, learningRate, decayConvention, decayExclude } = this.config;
    if (weightDecay === 0) return;
    const factor = 1 - (decayConvention === "tfa" ? weightDecay : learningRate * weightDecay);
    for (const [name, variable] of this.variables) {
      if (decayExclude.some((part) => name.includes(part))) continue;
      variable.assign(variable.mul(factor));
    }
  }

  private weight(name: string): tf.Tensor {
    const variable = this.variables.get(name);
    if (!variable) throw new Error(`The baseline has no weight ${name}.`);
    return variable;
  }

  dispose(): void {
    tf.dispose([...this.variables.values()]);
    this.optimizer.dispose();
  }
}

/** `[..., in]` to `[..., out]`; tf.matMul has no gradient for a kernel that it broadcasts. */
export function dense<T extends tf.Tensor>(x: T, kernel: tf.Tensor2D, bias: tf.Tensor): T {
  const rows = x.reshape([-1, kernel.shape[0]]) as tf.Tensor2D;
  return tf.matMul(rows, kernel)
    .add(bias)
    .reshape([...x.shape.slice(0, -1), kernel.shape[1]]) as T;
}

/** Attention of `[batch, tokens, heads * keyDim]`, with dropout on its weights. */
export function attend(
  query: tf.Tensor3D,
  key: tf.Tensor3D,
  value: tf.Tensor3D,
  numHeads: number,
  rate: number,
): tf.Tensor3D {
  const [batch, tokens, width] = query.shape;
  const keyDim = width / numHeads;
  const heads = (x: tf.Tensor3D) =>
    x.reshape([batch, tokens, numHeads, keyDim]).transpose([0, 2, 1, 3]);
  const scores = tf.matMul(heads(query).mul(1 / Math.sqrt(keyDim)), heads(key), false, true);
  const weights = dropout(tf.softmax(scores), rate);
  return tf.matMul(weights, heads(value)).transpose([0, 2, 1, 3]).reshape([batch, tokens, width]);
}

/** Layer normalization over the last axis. */
export function normalize<T extends tf.Tensor>(
  x: T,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  epsilon: number,
): T {
  const { mean, variance } = tf.moments(x, -1, true);
  return x.sub(mean).div(variance.add(epsilon).sqrt()).mul(gamma).add(beta);
}

/** The exact GELU. */
export function gelu<T extends tf.Tensor>(x: T): T {
  return x.mul(0.5).mul(tf.erf(x.mul(Math.SQRT1_2)).add(1));
}

/** tf.dropout, whose random numbers tfjs draws in JavaScript. */
export function dropout<T extends tf.Tensor>(x: T, rate: number): T {
  return rate === 0 ? x : tf.dropout(x, rate) as T;
}
