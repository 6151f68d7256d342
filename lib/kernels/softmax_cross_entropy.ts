/**
 * Softmax cross-entropy with integer labels; loss, top-1 and top-5 hits come from one pass over the
 * logits, and the gradient is made from the logits again.
 *
 * What is asked for may be softer than one class: `share` of the label and the rest of a second one
 * (mixed images), and of that all but `smoothing`, which is spread over all classes alike (Szegedy et
 * al., 2015). Each is a part of the shaders that is absent where it is not used. Hits are of the first
 * label alone.
 *
 * A row that has no defined loss (a NaN, an infinite greatest logit, or a label outside the
 * classes) has loss NaN, no hits and a gradient of NaN on every backend, so that a trainer notices.
 */
import { dispatch, uniformWords, unsigned } from "../backend/compute.ts";
import type { TensorInfo, tf } from "../tfjs.ts";
import { gridOf } from "./grid.ts";
import { registerGradient, registerKernels, runKernel } from "./register.ts";
import {
  type Attributes,
  type GradientInputs,
  hostBackward,
  hostForward,
  type Inputs,
} from "./softmax_cross_entropy/host.ts";
import { gradientWgsl, meanWgsl, type Parts, statsWgsl } from "./softmax_cross_entropy/wgsl.ts";

const QUIET_NAN = 0x7fc00000;

/** Result of {@linkcode softmaxCrossEntropy}. */
export interface CrossEntropy {
  /** The mean of the losses; differentiable with respect to the logits. */
  loss: tf.Scalar;
  /** float32 [batch, 3]: the loss, 1 for a top-1 hit, 1 for a top-5 hit. Not differentiable. */
  stats: tf.Tensor2D;
}

/** What softens the labels; nothing by default. */
export interface Softening {
  /** Share spread over all classes, 0 to below 1. */
  smoothing?: number;
  /** int32 [batch]: the label that has the rest of each image's `share`. */
  second?: tf.Tensor1D;
  /** float32 [batch], 0 to 1: the share of the first label; needed with `second`. */
  share?: tf.Tensor1D;
}

/**
 * The mean cross-entropy of `softmax(logits)`, and what is counted beside it.
 *
 * The rank of a label is the number of greater logits, and of equal ones at lower classes, so ties
 * have one answer. A top-1 hit has rank 0, a top-5 hit a rank below 5.
 *
 * @param logits float32 [batch, classes].
 * @param labels int32 [batch], each in 0..classes-1.
 * @throws {Error} when the shapes or types do not fit.
 * @throws {RangeError} when the smoothing is outside [0, 1).
 *
 * @example
 * ```ts
 * import { selectBackend, softmaxCrossEntropy, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const { loss, stats } = softmaxCrossEntropy(tf.zeros([1, 4]), tf.tensor1d([0], "int32"));
 * console.log(await loss.data(), await stats.data()); // 1.386 = ln 4, and its hits: 1, 1
 * ```
 */
export function softmaxCrossEntropy(
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
  { smoothing = 0, second, share }: Softening = {},
): CrossEntropy {
  const [batch, classes] = logits.shape;
  if (logits.rank !== 2 || batch * classes === 0 || logits.dtype !== "float32") {
    throw new Error(
      `Logits must be float32 [batch, classes], not ${logits.dtype} [${logits.shape}].`,
    );
  }
  assertPerImage("Labels", labels, "int32", batch);
  if (!(smoothing >= 0 && smoothing < 1)) {
    throw new RangeError(`The smoothing of labels must be in [0, 1), not ${smoothing}.`);
  }
  if (second || share) {
    assertPerImage("Second labels", second, "int32", batch);
    assertPerImage("Shares", share, "float32", batch);
  }
  // tfjs wants the names of a kernel's saved inputs once for all.
  const kernel = second ? "VitMixedCrossEntropy" : "VitSoftmaxCrossEntropy";
  const [loss, stats] = runKernel(kernel, { logits, labels, second, share }, { smoothing });
  return { loss: loss as tf.Scalar, stats: stats as tf.Tensor2D };
}

function assertPerImage(
  what: string,
  tensor: tf.Tensor1D | undefined,
  dtype: "int32" | "float32",
  batch: number,
): void {
  if (tensor?.rank === 1 && tensor.shape[0] === batch && tensor.dtype === dtype) return;
  const found = tensor ? `${tensor.dtype} [${tensor.shape}]` : "absent";
  throw new Error(`${what} must be ${dtype} [${batch}], not ${found}.`);
}

function partsOf({ second }: Inputs, { smoothing }: Attributes): Parts {
  return { mixed: second !== undefined, smooth: smoothing > 0 };
}

function keyOf(name: string, { mixed, smooth }: Parts): string {
  return `softmax_cross_entropy/${name}${mixed ? "+mixed" : ""}${smooth ? "+smooth" : ""}`;
}

function uniforms(logits: TensorInfo, { smoothing }: Attributes): Uint32Array {
  return uniformWords([
    ...unsigned(logits.shape[0]!, logits.shape[1]!, QUIET_NAN),
    ...(smoothing > 0 ? [["f", smoothing] as ["f", number]] : []),
  ]);
}

function webgpuForward(inputs: Inputs, attributes: Attributes): TensorInfo[] {
  const { logits, labels, second, share } = inputs;
  const batch = logits.shape[0]!;
  const parts = partsOf(inputs, attributes);
  const [stats] = dispatch({
    key: keyOf("stats", parts),
    wgsl: () => statsWgsl(parts),
    inputs: [logits, labels, ...(parts.mixed ? [second!, share!] : [])],
    outputs: [{ shape: [batch, 3], dtype: "float32" }],
    uniforms: uniforms(logits, attributes),
    workgroups: gridOf(batch),
  });
  const [loss] = dispatch({
    key: "softmax_cross_entropy/mean",
    wgsl: () => meanWgsl,
    inputs: [stats!],
    outputs: [{ shape: [], dtype: "float32" }],
    uniforms: uniformWords([["u", batch]]),
    workgroups: [1, 1, 1],
  });
  return [loss!, stats!];
}

function webgpuBackward(inputs: GradientInputs, attributes: Attributes): TensorInfo {
  const { logits, labels, second, share, dy } = inputs;
  const parts = partsOf(inputs, attributes);
  return dispatch({
    key: keyOf("gradient", parts),
    wgsl: () => gradientWgsl(parts),
    inputs: [logits, labels, ...(parts.mixed ? [second!, share!] : []), dy],
    outputs: [{ shape: logits.shape, dtype: "float32" }],
    uniforms: uniforms(logits, attributes),
    workgroups: gridOf(logits.shape[0]!),
  })[0]!;
}

registerKernels({
  VitSoftmaxCrossEntropy: webgpuForward,
  VitSoftmaxCrossEntropyGradient: webgpuBackward,
  VitMixedCrossEntropy: webgpuForward,
}, {
  VitSoftmaxCrossEntropy: hostForward,
  VitSoftmaxCrossEntropyGradient: hostBackward,
  VitMixedCrossEntropy: hostForward,
});

for (
  const [kernel, inputs] of [
    ["VitSoftmaxCrossEntropy", ["logits", "labels"]],
    ["VitMixedCrossEntropy", ["logits", "labels", "second", "share"]],
  ] as const
) {
  registerGradient<Attributes>(kernel, {
    inputs: [...inputs],
    backward: ([dy], [logits, labels, second, share], attributes) => ({
      logits: () =>
        runKernel<tf.Tensor>(
          "VitSoftmaxCrossEntropyGradient",
          { logits, labels, second, share, dy },
          attributes,
        ),
    }),
  });
}
