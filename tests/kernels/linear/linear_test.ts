import { assert, assertEquals, assertThrows } from "@std/assert";
import { hostFloatsInPlace } from "../../../lib/backend/host.ts";
import type { Dropout } from "../../../lib/kernels/dropout.ts";
import {
  type ChainedLayer,
  linear,
  linearChain,
  type LinearOptions,
} from "../../../lib/kernels/linear/linear.ts";
import {
  measuredTiles,
  productKey,
  type TileName,
  tiles,
} from "../../../lib/kernels/matmul/tiles.ts";
import { tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";
import { unlessThere } from "../../gpu_features.ts";
import {
  type Case,
  normals,
  type Numbers,
  numbersOf,
  reference,
  relativeError,
  SEED,
  STEP,
  STREAM,
} from "./reference.ts";

const everything = { bias: true, gelu: true, rate: 0.3 } as const;
const cases: Case[] = [
  { shape: [1, 1], columns: 1, bias: true },
  { shape: [3, 5, 7], columns: 9, ...everything, residual: "repeated" },
  { shape: [130, 33], columns: 65, ...everything, residual: "full" },
  { shape: [8, 300], columns: 70, ...everything },
  { shape: [7, 64], columns: 100, bias: true },
  { shape: [4, 37, 48], columns: 64, bias: true, residual: "repeated" },
  { shape: [2, 64, 64], columns: 128, ...everything, residual: "full" },
  { shape: [5, 144, 32], columns: 24, bias: true, rate: 0.5 },
  { shape: [3, 300, 12], columns: 20, gelu: true },
  { shape: [1040, 6], columns: 3, rate: 0.1, residual: "full" },
  { shape: [12, 40], columns: 36 },
  { shape: [3, 5, 7], columns: 9, ...everything, gelu: "tanh", residual: "full" },
  { shape: [130, 32], columns: 64, bias: true, gelu: "tanh" },
];
/** Each tile must do: rows that divide by four, and none that does; more than one tile each way. */
const tileCases: Case[] = [
  { shape: [150, 44], columns: 76, bias: true, gelu: true },
  { shape: [71, 35], columns: 67, bias: true, gelu: true },
];
const nameOf = ({ shape, columns, ...rest }: Case) =>
  `[${shape}] to ${columns} ${JSON.stringify(rest)}`;

/** y and all gradients of `linear` on the current backend. */
async function computed(c: Case, n: Numbers): Promise<Record<string, Float32Array>> {
  const yShape = [...c.shape.slice(0, -1), c.columns];
  const inputs: Record<string, tf.Tensor> = {
    x: tf.tensor(n.x, c.shape),
    kernel: tf.tensor(n.kernel, [c.shape.at(-1)!, c.columns]),
  };
  if (n.bias) inputs.bias = tf.tensor(n.bias);
  if (n.residual) {
    inputs.residual = tf.tensor(n.residual, c.residual === "full" ? yShape : yShape.slice(1));
  }
  const names = Object.keys(inputs);
  const stepKey = tf.tensor1d([SEED, STEP], "int32");
  const dy = tf.tensor(n.dy, yShape);
  const run = (...tensors: tf.Tensor[]) => {
    const named = Object.fromEntries(names.map((name, i) => [name, tensors[i]!]));
    const drop: Dropout | undefined = c.rate
      ? { rate: c.rate, stream: STREAM, stepKey }
      : undefined;
    const options: LinearOptions = { dropout: drop, residual: named.residual };
    if (c.gelu) options.activation = c.gelu === "tanh" ? "geluTanh" : "gelu";
    return linear(
      named.x!,
      named.kernel as tf.Tensor2D,
      named.bias as tf.Tensor1D ?? null,
      options,
    );
  };
  const tensors = Object.values(inputs);
  const { value, grads } = tf.valueAndGrads(run)(tensors, dy);
  assertEquals(value.shape, yShape);
  const results: Record<string, Float32Array> = {
    y: await value.data() as Float32Array,
  };
  for (const [i, name] of names.entries()) {
    assertEquals(grads[i]!.shape, inputs[name]!.shape);
    results[name] = await grads[i]!.data() as Float32Array;
  }
  tf.dispose([...tensors, stepKey, dy, value, ...grads]);
  return results;
}

async function check(c: Case): Promise<void> {
  const numbers = numbersOf(c);
  const want = reference(c, numbers);
  const got = await computed(c, numbers);
  for (const name in got) {
    const limit = name === "y" ? 3e-6 : 1e-5;
    const error = relativeError(got[name]!, want[name]!);
    assert(error < limit, `${name} is off by ${error}`);
  }
}

for (const c of cases) forEachBackend(`linear ${nameOf(c)}`, () => check(c));

/** Runs with one tile for all products of a layer. */
async function withTile(name: TileName, c: Case, run: () => Promise<void>): Promise<void> {
  const [inner, columns] = [c.shape.at(-1)!, c.columns];
  const rows = c.shape.slice(0, -1).reduce((a, b) => a * b);
  try {
    for (
      const product of [
        { layout: "nn", rows, depth: inner, columns },
        { layout: "nt", rows, depth: columns, columns: inner },
        { layout: "tn", rows: inner, depth: rows, columns },
      ] as const
    ) measuredTiles.set(productKey(product), name);
    await run();
  } finally {
    measuredTiles.clear();
  }
}

for (const name of Object.keys(tiles) as TileName[]) {
  const lacks = tiles[name].kind === "subgroup" ? unlessThere("subgroups of 8") : undefined;
  forEachBackend(`linear with the tile ${name}`, async () => {
    for (const c of tileCases) await withTile(name, c, () => check(c));
  }, { backends: ["webgpu"], lacks });
  forEachBackend(`linear gives the same bits with the tile ${name} as with others`, async () => {
    // Enough rows that the sum over them is split.
    const c: Case = { shape: [700, 20], columns: 24, bias: true, gelu: true };
    const numbers = numbersOf(c);
    const want = await computed(c, numbers);
    await withTile(name, c, async () => assertEquals(await computed(c, numbers), want));
  }, { backends: ["webgpu"], lacks });
}

forEachBackend("linear gives the same value whether gradients are recorded or not", async () => {
  const [x, kernel] = [tf.tensor2d(normals([6, 5], 1), [6, 5]), tf.ones<tf.Rank.R2>([5, 4])];
  const run = (k: tf.Tensor) => linear(x, k as tf.Tensor2D, null, { activation: "gelu" });
  const value = tf.tidy(() => run(kernel));
  const recorded = tf.tidy(() => tf.valueAndGrad(run)(kernel).value);
  assertEquals(await value.data(), await recorded.data());
  tf.dispose([x, kernel, value, recorded]);
});

forEachBackend("linear computes no gradient of an input that needs none", async () => {
  const [x, kernel] = [tf.ones([2, 3]), tf.ones<tf.Rank.R2>([3, 4])];
  // tfjs profiles a GPU by timestamps.
  const profile = await tf.profile(() =>
    tf.grad((k) => linear(x, k as tf.Tensor2D, null, { activation: "gelu" }))(kernel)
  );
  assert(profile.kernelNames.includes("VitLinearGradKernel"));
  assert(!profile.kernelNames.includes("VitLinearGradX"));
  tf.dispose([x, kernel, profile.result as tf.Tensor]);
}, { lacks: unlessThere("timestamp-query") });

forEachBackend("linear sees a kernel that was changed in place", async () => {
  const [x, kernel] = [tf.ones([2, 2]), tf.zeros<tf.Rank.R2>([2, 2])];
  const before = linear(x, kernel, null);
  hostFloatsInPlace(kernel).set([1, 2, 3, 4]);
  const after = linear(x, kernel, null);
  assertEquals([...await after.data()], [4, 6, 4, 6]);
  tf.dispose([x, kernel, before, after]);
}, { backends: ["wasm", "cpu"] });

forEachBackend("linear refuses shapes that do not fit", () => {
  tf.tidy(() => {
    const [x, kernel] = [tf.ones([2, 3]), tf.ones<tf.Rank.R2>([3, 4])];
    assertThrows(() => linear(x, tf.ones([4, 3]), null), Error, "[2,3] by a kernel [4,3]");
    assertThrows(() => linear(x, kernel, tf.ones([3])), Error, "bias of 4");
    const residual = tf.ones([3, 4]);
    assertThrows(() => linear(x, kernel, null, { residual }), Error, "[3,4] to y [2,4]");
    const stepKey = tf.tensor1d([0, 0], "int32");
    const drop = { rate: 1, stream: 0, stepKey };
    assertThrows(() => linear(x, kernel, null, { dropout: drop }), RangeError, "not 1");
  });
}, { backends: ["cpu"] });

forEachBackend("linearChain is linear after linear, with its gradients", async () => {
  const stepKey = tf.tensor1d([SEED, STEP], "int32");
  const x = tf.tensor(normals([2, 9, 12], 1), [2, 9, 12]);
  const residual = tf.tensor(normals([2, 9, 10], 2), [2, 9, 10]);
  const kernels = [[12, 20], [20, 7], [7, 10]].map((shape, i) =>
    tf.tensor2d(normals(shape, 3 + i, 0.3), shape as [number, number])
  );
  const biases = [20, 7].map((size, i) => tf.tensor1d(normals([size], 6 + i)));
  const layersOf = (weights: tf.Tensor[]): ChainedLayer[] =>
    ([
      { activation: "gelu", dropout: { rate: 0.3, stream: STREAM, stepKey } },
      {},
      { activation: "gelu" },
    ] as const).map((options, i) => ({
      ...options,
      kernel: weights[i] as tf.Tensor2D,
      bias: (weights[3 + i] ?? null) as tf.Tensor1D | null,
    }));
  const inputs = [...kernels, ...biases, x, residual];
  const chained = tf.grads((...all) => linearChain(all[5]!, layersOf(all.slice(0, 5)), all[6]));
  const oneByOne = tf.grads((...all) =>
    layersOf(all.slice(0, 5)).reduce(
      (input, { kernel, bias, ...options }, i) =>
        linear(input, kernel, bias, { ...options, residual: i === 2 ? all[6] : undefined }),
      all[5]!,
    )
  );
  const [got, want] = [tf.tidy(() => chained(inputs)), tf.tidy(() => oneByOne(inputs))];
  for (const [i, gradient] of want.entries()) {
    const expected = Float64Array.from(await gradient.data<"float32">());
    const error = relativeError(await got[i]!.data<"float32">(), expected);
    assert(error < 1e-6, `gradient ${i} is off by ${error}`);
  }
  const y = tf.tidy(() => linearChain(x, layersOf([...kernels, ...biases]), residual));
  assertEquals(y.shape, [2, 9, 10]);
  tf.dispose([stepKey, ...inputs, ...got, ...want, y]);
});
