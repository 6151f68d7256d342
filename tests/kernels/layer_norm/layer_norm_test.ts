import { assert, assertEquals, assertThrows } from "@std/assert";
import { dispatchCount } from "../../../lib/backend/compute.ts";
import { layerNorm, layerNormResidual } from "../../../lib/kernels/layer_norm/layer_norm.ts";
import { runKernel } from "../../../lib/kernels/register.ts";
import { randomUniform, streamKey } from "../../../lib/random.ts";
import { tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";
import { forEachForm, inForm } from "../forms.ts";

const EPSILON = 1e-6;

function numbers(count: number, stream: number, scale = 1, offset = 0): Float32Array {
  const key = streamKey(7, stream, 0);
  return Float32Array.from(
    { length: count },
    (_, i) => offset + scale * (2 * randomUniform(key, i) - 1),
  );
}

/** The definition in float64: y and the gradients of sum(y * dy). */
function reference(
  x: Float32Array,
  gamma: Float32Array,
  beta: Float32Array,
  dy: Float32Array,
  epsilon: number,
) {
  const dim = gamma.length;
  const y = new Float64Array(x.length);
  const dx = new Float64Array(x.length);
  const dGamma = new Float64Array(dim);
  const dBeta = new Float64Array(dim);
  for (let base = 0; base < x.length; base += dim) {
    const row = Array.from(x.subarray(base, base + dim));
    const mean = row.reduce((a, b) => a + b) / dim;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / dim;
    const deviation = Math.sqrt(variance + epsilon);
    const normalized = row.map((v) => (v - mean) / deviation);
    const g = normalized.map((_, d) => dy[base + d]! * gamma[d]!);
    const plain = g.reduce((a, b) => a + b) / dim;
    const weighted = g.reduce((a, b, d) => a + b * normalized[d]!, 0) / dim;
    for (let d = 0; d < dim; d++) {
      y[base + d] = normalized[d]! * gamma[d]! + beta[d]!;
      dx[base + d] = (g[d]! - plain - normalized[d]! * weighted) / deviation;
      dGamma[d]! += dy[base + d]! * normalized[d]!;
      dBeta[d]! += dy[base + d]!;
    }
  }
  return [y, dx, dGamma, dBeta];
}

async function computed(
  shape: number[],
  x: Float32Array,
  gamma: Float32Array,
  beta: Float32Array,
  dy: Float32Array,
  epsilon: number,
): Promise<Float32Array[]> {
  const inputs = [tf.tensor(x, shape), tf.tensor1d(gamma), tf.tensor1d(beta)];
  const upstream = tf.tensor(dy, shape);
  const run = (x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) =>
    layerNorm(x, gamma as tf.Tensor1D, beta as tf.Tensor1D, epsilon);
  const y = run(inputs[0]!, inputs[1]!, inputs[2]!);
  const grads = tf.grads((...args: tf.Tensor[]) => run(args[0]!, args[1]!, args[2]!))(
    inputs,
    upstream,
  );
  const results: Float32Array[] = [];
  for (const tensor of [y, ...grads]) results.push(await tensor.data() as Float32Array);
  tf.dispose([inputs, upstream, y, grads]);
  return results;
}

/** Each result against its reference, in units of the largest entry. */
function assertNear(actual: Float32Array, expected: Float64Array, tolerance: number, what: string) {
  assertEquals(actual.length, expected.length, what);
  const largest = expected.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-30);
  let worst = 0;
  actual.forEach((value, i) => {
    const error = Math.abs(value - expected[i]!) / largest;
    if (!(error <= worst)) worst = error;
  });
  assert(worst <= tolerance, `${what}: off by ${worst} of the largest entry ${largest}`);
}

const cases: [shape: number[], scale: number, offset: number][] = [
  [[3, 5, 64], 1, 0],
  [[2, 65, 7], 1, 0],
  [[1, 1], 1, 0],
  [[129, 4], 1e-3, 0],
  [[2, 3, 12], 1e4, 0],
  [[33, 132], 1, 100],
  [[5, 300], 1, 0],
];

forEachForm("layerNorm and its gradients agree with the definition in float64", async () => {
  for (const [shape, scale, offset] of cases) {
    const size = tf.util.sizeFromShape(shape);
    const dim = shape.at(-1)!;
    const x = numbers(size, 1, scale, offset);
    const gamma = numbers(dim, 2, 1, 0.5);
    const beta = numbers(dim, 3);
    const dy = numbers(size, 4);
    const actual = await computed(shape, x, gamma, beta, dy, EPSILON);
    const expected = reference(x, gamma, beta, dy, EPSILON);
    ["y", "dx", "dgamma", "dbeta"].forEach((name, i) => {
      const tolerance = offset !== 0 ? 2e-4 : i === 0 ? 1e-5 : 1e-4;
      // A row of one entry is its own mean: all but beta's part is zero by definition.
      if (dim === 1 && (i === 1 || i === 2)) assert(Math.abs(actual[i]![0]!) < 1e-6);
      else assertNear(actual[i]!, expected[i]!, tolerance, `${name} of [${shape}]`);
    });
  }
});

forEachForm("layerNorm sums dgamma and dbeta over many chunks of rows", async () => {
  const shape = [70_000, 4];
  const x = numbers(280_000, 5);
  const dy = numbers(280_000, 6);
  const gamma = numbers(4, 7);
  const beta = numbers(4, 8);
  const actual = await computed(shape, x, gamma, beta, dy, EPSILON);
  const expected = reference(x, gamma, beta, dy, EPSILON);
  // Sums of 70,000 terms of either sign: the error is measured against their typical size.
  for (const i of [2, 3]) {
    actual[i]!.forEach((value, d) =>
      assert(Math.abs(value - expected[i]![d]!) < 1e-4 * Math.sqrt(70_000), `column ${d}`)
    );
  }
});

forEachForm(
  "layerNormResidual passes x on without a copy, and adds the two gradients",
  async () => {
    for (const [shape, scale, offset] of cases.slice(0, 4)) {
      const size = tf.util.sizeFromShape(shape);
      const dim = shape.at(-1)!;
      const [x, dy, dResidual] = [
        numbers(size, 1, scale, offset),
        numbers(size, 4),
        numbers(size, 5),
      ];
      const [gamma, beta] = [numbers(dim, 2, 1, 0.5), numbers(dim, 3)];
      const inputs = [tf.tensor(x, shape), tf.tensor1d(gamma), tf.tensor1d(beta)];
      const [given, givenResidual] = [tf.tensor(dy, shape), tf.tensor(dResidual, shape)];
      /** y, the residual, and the gradients of sum(y * dy * onY + residual * dResidual * onResidual). */
      const run = (onY: number, onResidual: number) =>
        tf.tidy(() => {
          let outputs: tf.Tensor[] = [];
          const sum = (x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) => {
            outputs = layerNormResidual(x, gamma as tf.Tensor1D, beta as tf.Tensor1D, EPSILON);
            const parts = [
              ...(onY ? [outputs[0]!.mul(given).sum()] : []),
              ...(onResidual ? [outputs[1]!.mul(givenResidual).sum()] : []),
            ];
            return tf.addN(parts) as tf.Scalar;
          };
          sum(inputs[0]!, inputs[1]!, inputs[2]!);
          const residual = outputs[1]!;
          assert(
            residual !== inputs[0] && residual.dataId === inputs[0]!.dataId,
            "a copy was made",
          );
          const gradient = tf.grads((...args: tf.Tensor[]) => sum(args[0]!, args[1]!, args[2]!));
          return [outputs[0]!, residual, ...gradient(inputs)];
        });
      const [y, dx, dGamma, dBeta] = reference(x, gamma, beta, dy, EPSILON);
      for (const [onY, onResidual] of [[1, 1], [1, 0], [0, 1]] as const) {
        const results = run(onY, onResidual);
        const expected = [
          y!,
          Float64Array.from(x),
          dx!.map((value, i) => onY * value + onResidual * dResidual[i]!),
          dGamma!.map((value) => onY * value),
          dBeta!.map((value) => onY * value),
        ];
        for (const [i, tensor] of results.entries()) {
          const name = ["y", "residual", "dx", "dgamma", "dbeta"][i]!;
          const actual = await tensor.data<"float32">();
          if (dim === 1 && name === "dgamma") assert(Math.abs(actual[0]!) < 1e-6);
          else {assertNear(
              actual,
              expected[i]!,
              1e-4,
              `${name} of [${shape}], ${onY} ${onResidual}`,
            );}
        }
        tf.dispose(results);
      }
      tf.dispose([inputs, given, givenResidual]);
    }
  },
);

forEachBackend("layerNormResidual's x may go before its residual", async () => {
  const [gamma, beta] = [tf.ones([2]) as tf.Tensor1D, tf.zeros([2]) as tf.Tensor1D];
  const x = tf.tensor2d([[1, 2]]);
  const [y, residual] = layerNormResidual(x, gamma, beta, EPSILON);
  x.dispose();
  const other = tf.tensor2d([[3, 4]]);
  assertEquals([...await residual.data()], [1, 2]);
  tf.dispose([gamma, beta, y, residual, other]);
});

forEachForm("layerNorm of a constant row is beta", async () => {
  const x = tf.fill([3, 8], 5);
  const gamma = tf.fill([8], 2) as tf.Tensor1D;
  const beta = tf.range(0, 8) as tf.Tensor1D;
  const y = layerNorm(x, gamma, beta, EPSILON);
  const row = Array.from(await y.data()).slice(0, 8);
  assertEquals(row, [0, 1, 2, 3, 4, 5, 6, 7]);
  tf.dispose([x, gamma, beta, y]);
});

forEachForm("layerNorm gives equal bytes twice", async () => {
  const args = [
    numbers(64 * 200, 1),
    numbers(64, 2),
    numbers(64, 3),
    numbers(64 * 200, 4),
  ] as const;
  const first = await computed([200, 64], ...args, EPSILON);
  const second = await computed([200, 64], ...args, EPSILON);
  assertEquals(first, second);
});

forEachBackend("the moments of either form serve the gradients of the other", async () => {
  const [rows, dim] = [70, 48];
  const [x, dy] = [numbers(rows * dim, 1), numbers(rows * dim, 4)];
  const [gamma, beta] = [numbers(dim, 2, 1, 0.5), numbers(dim, 3)];
  const expected = reference(x, gamma, beta, dy, EPSILON);
  for (const [forward, backward] of [["thread", "workgroup"], ["workgroup", "thread"]] as const) {
    const inputs = [tf.tensor2d(x, [rows, dim]), tf.tensor1d(gamma), tf.tensor1d(beta)];
    const [y, moments] = await inForm(
      forward,
      () => runKernel("VitLayerNorm", named(inputs), { epsilon: EPSILON, residual: false }),
    );
    const upstream = tf.tensor2d(dy, [rows, dim]);
    const grads = await inForm(
      backward,
      () => runKernel("VitLayerNormGrad", { ...named(inputs), dy: upstream, moments }),
    );
    for (const [i, tensor] of [y!, ...grads].entries()) {
      const actual = await tensor.data<"float32">();
      assertNear(actual, expected[i]!, 1e-5, `${["y", "dx", "dgamma", "dbeta"][i]}`);
    }
    tf.dispose([inputs, upstream, y!, moments!, grads]);
  }
}, { backends: ["webgpu"] });

forEachBackend("both forms take as many dispatches, whatever the number of rows", async () => {
  const args = (rows: number) =>
    [numbers(4 * rows, 1), numbers(4, 2), numbers(4, 3), numbers(4 * rows, 4)] as const;
  for (const rows of [4096, 4097]) {
    const counts = [];
    for (const form of ["thread", "workgroup"] as const) {
      const before = dispatchCount;
      await inForm(form, () => computed([rows, 4], ...args(rows), EPSILON));
      counts.push(dispatchCount - before);
    }
    assertEquals(counts[1], counts[0]);
  }
}, { backends: ["webgpu"] });

function named([x, gamma, beta]: tf.Tensor[]): Record<string, tf.Tensor> {
  return { x: x!, gamma: gamma!, beta: beta! };
}

forEachBackend("layerNorm refuses a gamma of another length", () => {
  tf.tidy(() => {
    const x = tf.zeros([2, 3]);
    const three = tf.zeros([3]) as tf.Tensor1D;
    const four = tf.zeros([4]) as tf.Tensor1D;
    assertThrows(() => layerNorm(x, four, three, EPSILON), RangeError, "[3], not [4] and [3]");
  });
}, { backends: ["cpu"] });
