/**
 * Multi-head attention: softmax(query key^T / sqrt(keyDim)) value for every head, with dropout on
 * the attention weights (Vaswani et al., 2017).
 *
 * On webgpu the weights never reach memory, in the manner of FlashAttention (Dao et al., 2022); see
 * `wgsl.ts`. On wasm and cpu they are held for one head at a time, and kept for the
 * backward pass while that is cheap; see `host.ts`.
 */
import { UserError } from "../../errors.ts";
import { tf } from "../../tfjs.ts";
import { type AttentionAttributes, hostAttention, hostAttentionGrad } from "./host.ts";
import { simdAttention, simdAttentionGrad } from "./simd.ts";
import { webgpuAttention, webgpuAttentionGrad } from "./wgsl.ts";
import { type Dropout, dropoutNumbers, dropsAny } from "../dropout.ts";
import { plainAttention } from "./plain.ts";
import { registerKernels, runKernel } from "../register.ts";

/** Options of {@linkcode attention}. */
export interface AttentionOptions {
  /** Heads; they lie outermost within the last axis of query, key and value. */
  numHeads: number;
  /** Dropout of the weights, whose mask is indexed as `[batch, heads, tokens, tokens]`. */
  dropout?: Dropout;
  /** Lets no token attend to itself, as locality self-attention does (Lee et al., 2021). */
  maskDiagonal?: boolean;
}

/** The widest head that the kernels hold in registers. */
const MAX_KEY_DIM = 128;

/**
 * Attends from every token to every token of the same image.
 *
 * @param query float32 `[batch, tokens, heads * keyDim]`, not yet scaled.
 * @param key As query.
 * @param value As query.
 * @returns `[batch, tokens, heads * keyDim]`, differentiable to query, key and value.
 * @throws {UserError} when keyDim exceeds 128, or the weights number 2^32 or more, which is more
 * than the random numbers of one step can index.
 * @throws {RangeError} when the shapes do not fit together, or a masked diagonal leaves an only
 * token nothing to attend to.
 */
export function attention(
  query: tf.Tensor3D,
  key: tf.Tensor3D,
  value: tf.Tensor3D,
  options: AttentionOptions,
): tf.Tensor3D {
  const { dropout } = options;
  const attributes = attributesOf([query, key, value], options);
  if (query.size === 0) return query.clone();
  const stepKey: tf.NamedTensorMap = dropsAny(dropout) ? { stepKey: dropout.stepKey } : {};
  const run = tf.customGrad((...args) => {
    const save = args.pop() as tf.GradSaveFunc;
    const [query, key, value] = args as tf.Tensor[] as [tf.Tensor, tf.Tensor, tf.Tensor];
    const inputs = { query, key, value };
    // Without a tape nobody will ask for the weights of this pass.
    const keeps = attributes.keeps && tf.engine().state.gradientDepth > 0;
    const [attended, kept] = runKernel("VitAttention", { ...inputs, ...stepKey }, {
      ...attributes,
      keeps,
    }) as [tf.Tensor, tf.Tensor];
    const saved: tf.NamedTensorMap = { ...inputs, attended, kept, ...stepKey };
    save(Object.values(saved));
    const gradFunc = (upstream: tf.Tensor, tensors: tf.Tensor[]) => {
      const names = Object.keys(saved);
      const given = Object.fromEntries(tensors.map((tensor, i) => [names[i]!, tensor]));
      return runKernel("VitAttentionGrad", { ...given, upstream }, { ...attributes, keeps });
    };
    return { value: attended, gradFunc: gradFunc as (dy: tf.Tensor) => tf.Tensor[] };
  });
  return run(query, key, value) as tf.Tensor3D;
}

/** Beyond this size a call's weights are computed again rather than kept for the backward pass. */
const KEPT_BYTES = 32 * 2 ** 20;

/** Whether host backends keep so many weights of a call, `[batch, heads, tokens, tokens]`. */
export function keepsWeights(count: number): boolean {
  return 4 * count <= KEPT_BYTES;
}

function attributesOf(
  tensors: tf.Tensor3D[],
  { numHeads, dropout, maskDiagonal = false }: AttentionOptions,
): AttentionAttributes {
  const [batch, tokens, width] = tensors[0]!.shape;
  if (tensors.some(({ shape }) => shape.join() !== tensors[0]!.shape.join())) {
    throw new RangeError(
      `attention needs query, key and value of one shape, not ` +
        `${tensors.map(({ shape }) => `[${shape}]`).join(", ")}.`,
    );
  }
  if (!(Number.isInteger(numHeads) && numHeads > 0 && width % numHeads === 0)) {
    throw new RangeError(`attention cannot split a width of ${width} into ${numHeads} heads.`);
  }
  if (maskDiagonal && tokens === 1) {
    throw new RangeError("attention with a masked diagonal needs at least two tokens, not 1.");
  }
  const keyDim = width / numHeads;
  if (keyDim > MAX_KEY_DIM) {
    throw new UserError(`keyDim ${keyDim} is too wide; attention takes at most ${MAX_KEY_DIM}.`);
  }
  const weights = batch * numHeads * tokens * tokens;
  if (weights >= 2 ** 32) {
    throw new UserError(
      `The attention weights [${batch}, ${numHeads}, ${tokens}, ${tokens}] number ${weights}, ` +
        `but must stay below 2^32; take a batch below ${
          Math.ceil(2 ** 32 / (weights / batch))
        } or larger patches.`,
    );
  }
  return {
    batch,
    tokens,
    numHeads,
    keyDim,
    maskDiagonal,
    stream: dropout?.stream ?? 0,
    ...dropoutNumbers(dropout?.rate ?? 0),
    keeps: keepsWeights(weights),
  };
}

registerKernels(
  { VitAttention: webgpuAttention, VitAttentionGrad: webgpuAttentionGrad },
  { VitAttention: hostAttention, VitAttentionGrad: hostAttentionGrad },
  { VitAttention: plainAttention },
  { VitAttention: simdAttention, VitAttentionGrad: simdAttentionGrad },
);
