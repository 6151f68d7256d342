// Records a training step of a plain tfjs model once, and replays it: the same numbers, faster.
// deno run examples/capture.ts
import { capture, selectBackend, tf, UserError } from "../mod.ts";

try {
  await selectBackend("webgpu"); // what is recorded are the GPU's commands
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.log(error.message);
  Deno.exit(2);
}
const w = tf.variable(tf.zeros<tf.Rank.R2>([8, 1]));
const optimizer = tf.train.adam(0.1);
const step = await capture({
  inputs: { x: tf.zeros<tf.Rank.R2>([64, 8]), y: tf.zeros<tf.Rank.R2>([64, 1]) },
  fn: ({ x, y }) =>
    optimizer.minimize(() => tf.losses.meanSquaredError(y, tf.matMul(x, w)), true, [w])!,
});
const x = Float32Array.from({ length: 64 * 8 }, (_, i) => Math.sin(i * i));
const y = Float32Array.from({ length: 64 }, (_, i) => 3 * x[8 * i]! - 2 * x[8 * i + 5]!);
step.write("x", x).write("y", y);
for (let i = 0; i <= 200; i++) {
  step.replay();
  if (i % 100 === 0) console.log(`Step ${i}: loss ${(await step.outputs.data())[0]!.toFixed(4)}`);
}
step.dispose();
