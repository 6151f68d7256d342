/**
 * The Vision Transformer of a configuration in jax-js, its loss and one AdamW step, written as
 * jax-js's own examples are: pure functions of weights, all of them compiled together by `jit`.
 *
 * An array belongs to the function it is passed to, and `.ref` is how a caller keeps it. The step
 * takes weights and moments without `.ref`, so that their memory is free for what replaces them.
 *
 * Axes beside the arrays: b images, n tokens of width d, h heads of width k.
 */
import { jit, lax, nn, numpy as np, random, tree, valueAndGrad } from "@jax-js/jax";
import type { RunConfig } from "../../lib/config/run.ts";

/** Arrays by the plain names of our weights. */
export type Weights = Record<string, np.Array>;

/** What a step replaces. */
export type State = { weights: Weights; m: Weights; v: Weights };

/** What the model here does not build, by the values that it builds. */
const built: Partial<RunConfig> = {
  ...{ localityAttention: false, dropPath: 0, layerScale: 0, distillation: "none" },
  ...{ classToken: false, finalNorm: "tokens", positionEmbedding: "learned" },
  ...{ freeze: "none", clipNorm: 0, ema: 0, accumulate: 1 },
};

/** The first field whose value is not built here, in words; undefined where all are. */
export function notBuilt(config: RunConfig): string | undefined {
  if (config.tokenizer === "shifted") return "tokenizer shifted is not written for it";
  if (config.pooling === "token") return "pooling token is not written for it";
  for (const [name, value] of Object.entries(built)) {
    const given = config[name as keyof RunConfig];
    if (given !== value) return `${name} ${given} is not written for it`;
  }
}

/**
 * The whole training step, compiled on its first call.
 *
 * @returns of a state, images `[batch, size, size, channels]`, labels `[batch]`, the learning rate
 * with Adam's bias correction and a key: the mean loss before the update, and the next state
 */
export function compileStep(config: RunConfig) {
  const loss = (weights: Weights, images: np.Array, labels: np.Array, key: np.Array) =>
    crossEntropy(logitsOf(config, weights, images, key), labels, config);
  return jit(
    function step(
      state: State,
      images: np.Array,
      labels: np.Array,
      rate: np.Array,
      key: np.Array,
    ): { loss: np.Array; state: State } {
      const [value, gradients] = valueAndGrad(loss)(tree.ref(state.weights), images, labels, key);
      return { loss: value, state: adamw(config, state, gradients, rate) };
    },
  );
}

/** The learning rate with Adam's bias correction of a step, from 1. */
export function correctedRate({ learningRate, beta1, beta2 }: RunConfig, step: number): number {
  return learningRate * Math.sqrt(1 - beta2 ** step) / (1 - beta1 ** step);
}

/** Decoupled weight decay, then Adam as TensorFlow computes it. */
function adamw(config: RunConfig, state: State, gradients: Weights, rate: np.Array): State {
  const { learningRate, weightDecay, decayConvention, decayExclude, beta1, beta2 } = config;
  const decay = 1 - (decayConvention === "tfa" ? weightDecay : learningRate * weightDecay);
  const next: State = { weights: {}, m: {}, v: {} };
  for (const [name, gradient] of Object.entries(gradients)) {
    const m = state.m[name]!.mul(beta1).add(gradient.ref.mul(1 - beta1));
    const v = state.v[name]!.mul(beta2).add(np.square(gradient).mul(1 - beta2));
    const kept = decayExclude.some((part) => name.includes(part)) ? 1 : decay;
    const change = m.ref.mul(rate.ref).div(np.sqrt(v.ref).add(config.epsilon));
    next.weights[name] = state.weights[name]!.mul(kept).sub(change);
    next.m[name] = m;
    next.v[name] = v;
  }
  rate.dispose();
  return next;
}

function crossEntropy(logits: np.Array, labels: np.Array, config: RunConfig): np.Array {
  const { numClasses, labelSmoothing } = config;
  const batch = labels.shape[0]!;
  const targets = nn.oneHot(labels, numClasses)
    .mul(1 - labelSmoothing).add(labelSmoothing / numClasses);
  return nn.logSoftmax(logits).mul(targets).sum().mul(-1 / batch);
}

/** Logits `[batch, numClasses]` in training. */
function logitsOf(config: RunConfig, w: Weights, images: np.Array, key: np.Array): np.Array {
  const c = config;
  const dropout = dropouts(key, c.transformerLayers * (1 + c.transformerUnits.length) + 8);
  const norm = (x: np.Array, name: string) =>
    nn.standardize(x, -1, { epsilon: c.layerNormEpsilon })
      .mul(w[`${name}.gamma`]!).add(w[`${name}.beta`]!);
  const dense = (x: np.Array, name: string) => {
    const y = np.dot(x, w[`${name}.kernel`]!);
    const bias = w[`${name}.bias`];
    return bias ? y.add(bias) : y;
  };
  const gelu = (x: np.Array) => nn.gelu(x, { approximate: c.gelu === "tanh" });

  // b n d, as is all below up to the pooling
  let x = c.tokenizer === "conv"
    ? convTokens(config, w, images).add(w["token_encoder.position_embedding"]!)
    : dense(patches(config, images), "patch_encoder.projection")
      .add(w["patch_encoder.position_embedding"]!);
  for (let i = 0; i < c.transformerLayers; i++) {
    const block = `blocks.${i}`;
    const normed = norm(x.ref, `${block}.norm1`);
    const [b, n] = normed.shape as [number, number];
    // b n (h k) -> b n h k
    const [query, key, value] = ["query", "key", "value"].map((part) =>
      dense(normed.ref, `${block}.attention.${part}`).reshape([b, n, c.numHeads, c.keyDim])
    ) as [np.Array, np.Array, np.Array];
    normed.dispose();
    const scores = np.einsum("bnhk,bmhk->bhnm", query, key).mul(c.keyDim ** -0.5);
    const shares = dropout(nn.softmax(scores), c.attentionDropout);
    // b n h k -> b n (h k)
    const attended = np.einsum("bhnm,bmhk->bnhk", shares, value)
      .reshape([b, n, c.numHeads * c.keyDim]);
    x = x.add(dense(attended, `${block}.attention.output`));
    let hidden = norm(x.ref, `${block}.norm2`);
    for (const layer of c.transformerUnits.keys()) {
      const isLast = layer === c.transformerUnits.length - 1;
      hidden = dense(hidden, `${block}.mlp.${layer}`);
      if (!isLast || c.mlpLastActivation) hidden = gelu(hidden);
      hidden = dropout(hidden, c.mlpDropout);
    }
    x = x.add(hidden);
  }
  x = norm(x, "norm");
  const [b] = x.shape as [number];
  if (c.pooling === "flatten") x = x.reshape([b, -1]);
  else if (c.pooling === "mean") x = x.mean(1);
  else x = nn.softmax(dense(x.ref, "pooling.attention"), 1).mul(x).sum(1);
  // b f
  x = dropout(x, c.headDropout);
  for (const layer of c.mlpHeadUnits.keys()) {
    x = dropout(gelu(dense(x, `head.${layer}`)), c.headDropout);
  }
  dropout.dispose();
  return dense(x, "classifier");
}

/** b (s p) (s p) c -> b (s s) (p p c) */
function patches({ imageSize, patchSize: p, channels }: RunConfig, images: np.Array): np.Array {
  const batch = images.shape[0]!;
  const side = imageSize / p;
  return images.reshape([batch, side, p, side, p * channels])
    .transpose([0, 1, 3, 2, 4])
    .reshape([batch, side * side, p * p * channels]);
}

/** Stages of convolution, ReLU and pooling; jax-js has channels before rows and columns. */
function convTokens({ convChannels }: RunConfig, w: Weights, images: np.Array): np.Array {
  let x = images.transpose([0, 3, 1, 2]);
  for (const stage of convChannels.keys()) {
    // Ours is [height, width, in, out], jax-js's [out, in, height, width].
    const kernel = w[`tokenizer.stages.${stage}.kernel`]!.transpose([3, 2, 0, 1]);
    const filtered = nn.relu(lax.conv(x, kernel, [1, 1], "SAME"));
    // A border of zeros is as good as none, since nothing is below zero.
    const bordered = np.pad(filtered, [[0, 0], [0, 0], [1, 1], [1, 1]]);
    x = lax.reduceWindow(bordered, np.max, [3, 3], [2, 2]);
  }
  const [batch, filters] = x.shape as [number, number];
  return x.reshape([batch, filters, -1]).transpose([0, 2, 1]);
}

/** Dropout with a key of its own at each place; `most` is no less than the number of places. */
function dropouts(key: np.Array, most: number) {
  const keys = random.split(key, most);
  let place = 0;
  const dropout = (x: np.Array, rate: number): np.Array => {
    if (rate === 0) return x;
    const kept = random.bernoulli(keys.ref.slice(place++), 1 - rate, x.shape);
    return np.where(kept, x.mul(1 / (1 - rate)), 0);
  };
  return Object.assign(dropout, { dispose: () => keys.dispose() });
}
