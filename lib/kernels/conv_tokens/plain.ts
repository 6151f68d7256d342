/** Convolution stages of tfjs's own operations, forward; see conv_tokens.ts for the design. */
import { type TensorInfo, tf } from "../../tfjs.ts";
import type { Tensors } from "../register.ts";
import { KERNEL, padded, pooled, type StageInputs } from "./sizes.ts";

/** Images as a frame. */
export function plainFrame({ x }: Tensors<{ x: TensorInfo }>): tf.Tensor {
  const channels = x.shape[3]!;
  return tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, padded(channels) - channels]]);
}

/** Convolution, relu and pooling, and no places, which are for the backward pass. */
export function plainPool(
  { frame, kernel }: Tensors<StageInputs>,
  { last }: { last: boolean },
): tf.Tensor[] {
  const [batch, height, width] = frame.shape as [number, number, number];
  const [, , channels, filters] = kernel.shape as [number, number, number, number];
  const images = frame.slice([0, 0, 0, 0], [batch, height, width, channels]) as tf.Tensor4D;
  const z = tf.relu(tf.conv2d(images, kernel as tf.Tensor4D, 1, "valid"));
  // A border of zeros changes no maximum of values from 0 on.
  const y = tf.maxPool(z, KERNEL, 2, 1, "floor");
  const tokens = pooled(height - 2) * pooled(width - 2);
  const output = last ? y.reshape([batch, tokens, filters]) : plainFrame({ x: y });
  return [output, tf.zeros([0], "int32")];
}
