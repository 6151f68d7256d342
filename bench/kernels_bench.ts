/**
 * `deno bench -P`: single operations, forward and backward, at the shapes of `keras-cifar100` with
 * a batch of 8, each beside the same from plain tf ops.
 *
 * Where the adapter is hardware, a wait for the device takes at least 11 ms in Deno; so many calls
 * share one there.
 */
import { findAdapter } from "../lib/backend/device.ts";
import { selectBackend } from "../lib/backend/select.ts";
import { attention } from "../lib/kernels/attention/attention.ts";
import { imageOperations } from "../lib/kernels/image_operations/image_operations.ts";
import { operationRow } from "../lib/kernels/image_operations/operations.ts";
import { layerNorm } from "../lib/kernels/layer_norm/layer_norm.ts";
import { linear } from "../lib/kernels/linear/linear.ts";
import { softmaxCrossEntropy } from "../lib/kernels/softmax_cross_entropy.ts";
import { AdamW } from "../lib/optim/adamw.ts";
import { tf } from "../lib/tfjs.ts";
import { attend, dense, dropout, gelu, normalize } from "./baseline.ts";
import { deviceDone, flush } from "./sides.ts";

if (Deno.build.os === "linux" && !Deno.env.get("XDG_RUNTIME_DIR")) {
  Deno.env.set("XDG_RUNTIME_DIR", "/tmp");
}
const { name: backend, isSoftware } = await selectBackend(await findAdapter() ? "webgpu" : "auto");
const calls = isSoftware ? 1 : 32;

const [batch, tokens, dim, heads, keyDim] = [8, 144, 64, 4, 64] as const;
const stepKey = tf.tensor1d([1, 1], "int32");
const rate = 0.1;
const drop = { rate, stream: 1, stepKey };

/** Numbers that are neither denormal nor all alike. */
function example<R extends tf.Rank>(...shape: number[]): tf.Tensor<R> {
  const size = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: size }, (_, i) => (i % 37 - 18) / 37);
  return tf.tensor(values, shape as tf.ShapeMap[R]);
}

/** Measures `ours` beside `tfjs`; tensors that they return are disposed. */
function compare(group: string, tfjs: () => unknown, ours: () => unknown): void {
  for (const [side, run] of Object.entries({ tfjs, ours })) {
    Deno.bench({
      name: `${side}: ${group}${calls > 1 ? `, ${calls} calls` : ""} [${backend}]`,
      group,
      baseline: side === "tfjs",
      n: 5,
      warmup: 2,
      async fn(bench) {
        bench.start();
        for (let call = 0; call < calls; call++) {
          tf.tidy(() => {
            run();
          });
        }
        flush();
        await deviceDone(isSoftware);
        bench.end();
      },
    });
  }
}

/** The gradients of the sum of `f` with respect to all of `xs`. */
function gradients(xs: tf.Tensor[], f: (...xs: tf.Tensor[]) => tf.Tensor): () => unknown {
  const compute = tf.grads(f);
  return () => compute(xs);
}

const attentionInputs = [0, 1, 2].map(() => example(batch, tokens, heads * keyDim));
type Three = [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];
compare(
  `attention [${batch}, ${tokens}, ${heads} x ${keyDim}]`,
  gradients(attentionInputs, (...xs) => attend(...xs as Three, heads, rate)),
  gradients(
    attentionInputs,
    (...xs) => attention(...xs as Three, { numHeads: heads, dropout: drop }),
  ),
);

const rows = example<tf.Rank.R3>(batch, tokens, dim);
compare(
  `layer norm [${batch}, ${tokens}, ${dim}]`,
  gradients(
    [rows, example(dim), example(dim)],
    (x, gamma, beta) => normalize(x!, gamma!, beta!, 1e-6),
  ),
  gradients(
    [rows, example(dim), example(dim)],
    (x, gamma, beta) => layerNorm(x!, gamma as tf.Tensor1D, beta as tf.Tensor1D, 1e-6),
  ),
);

const hidden = [rows, example(dim, 2 * dim), example(2 * dim)];
compare(
  `dense, GELU, dropout [${batch}, ${tokens}, ${dim}] to ${2 * dim}`,
  gradients(hidden, (x, k, b) => dropout(gelu(dense(x!, k as tf.Tensor2D, b!)), rate)),
  gradients(
    hidden,
    (x, k, b) =>
      linear(x!, k as tf.Tensor2D, b as tf.Tensor1D, { activation: "gelu", dropout: drop }),
  ),
);

const head = [example(batch, tokens * dim), example(tokens * dim, 2048)] as const;
compare(
  `matmul [${batch}, ${tokens * dim}] x [${tokens * dim}, 2048], forward`,
  () => tf.matMul(head[0] as tf.Tensor2D, head[1] as tf.Tensor2D),
  () => linear(head[0], head[1] as tf.Tensor2D, null),
);

const logits = example<tf.Rank.R2>(256, 100);
const labels = tf.tensor1d(Int32Array.from({ length: 256 }, (_, i) => i % 100), "int32");
compare(
  "softmax cross-entropy [256, 100]",
  gradients([logits], (x) => tf.losses.softmaxCrossEntropy(tf.oneHot(labels, 100), x!)),
  gradients([logits], (x) => softmaxCrossEntropy(x as tf.Tensor2D, labels).loss),
);

const shapes = [[dim, 256], [256], [256, dim], [dim], [dim, 128], [128], [128, dim], [dim]];
const variables = [...shapes, ...shapes, [1024, 1024]].map((shape) =>
  tf.variable(example(...shape))
);
const variableGrads = variables.map(({ name, shape }) => ({ name, tensor: example(...shape) }));
const [adam, adamW] = [tf.train.adam(1e-3), new AdamW()];
compare(
  `AdamW of ${variables.length} variables`,
  () => {
    for (const variable of variables) variable.assign(variable.mul(1 - 1e-4));
    adam.applyGradients(variableGrads);
  },
  () => adamW.applyGradients(variableGrads),
);

const images = tf.tidy(() =>
  example<tf.Rank.R4>(batch, 72, 72, 3).mul(127).add(128)
) as tf.Tensor4D;
const greyShares = tf.tensor1d([0.2989, 0.587, 0.114]);
const contrasts = tf.tensor2d(
  Array(batch).fill(operationRow({ name: "contrast", magnitude: 1.5 })),
);
compare(
  `contrast of [${images.shape}], each image its own, and normalization`,
  () => {
    const mean = tf.mean(tf.floor(tf.sum(images.mul(greyShares), 3, true)), [1, 2], true);
    const factors = tf.slice(contrasts, [0, 1], [-1, 1]).reshape([batch, 1, 1, 1]);
    const mixed = images.mul(factors).add(mean.mul(tf.sub(1, factors)));
    return tf.floor(tf.clipByValue(mixed, 0, 255)).sub(128).div(60);
  },
  () => imageOperations(images, contrasts, { mean: [128, 128, 128], variance: [3600, 3600, 3600] }),
);
