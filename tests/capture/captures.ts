/** What the tests of captures share. */
import { assert, assertRejects } from "@std/assert";
import { capture } from "../../lib/capture/capture.ts";
import { CaptureError } from "../../lib/capture/intercept.ts";
import { tf } from "../../lib/tfjs.ts";

/** Options of a test that needs the one backend that can capture. */
export const onWebgpu = { backends: ["webgpu"] as const };

/** A new variable. */
export const variableOf = (values: number[]) => tf.tidy(() => tf.variable(tf.tensor1d(values)));
/** The values of a tensor. */
export const valuesOf = async (tensor: tf.Tensor) => [...await tensor.data()];

/** Captures a function of one input x, float32 [2], initially [1, 2]. */
export async function captureOfX<O>(fn: (inputs: { x: tf.Tensor }) => O) {
  const x = tf.tensor1d([1, 2]);
  try {
    return await capture({ inputs: { x }, fn });
  } finally {
    x.dispose();
  }
}

/** Asserts that capturing is refused with a message that has all `parts`. */
export async function assertRefused(fn: (inputs: { x: tf.Tensor }) => unknown, ...parts: string[]) {
  const error = await assertRejects(() => captureOfX(fn), CaptureError) as Error;
  for (const part of parts) assert(error.message.includes(part), error.message);
}
