import { assert, assertEquals, assertThrows } from "@std/assert";
import { webgpuBackend } from "../../../lib/backend/compute.ts";
import { measuredTiles, productKey } from "../../../lib/kernels/matmul/tiles.ts";
import { parallelLinear } from "../../../lib/kernels/linear/parallel_linear.ts";
import { tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";
import { numbersOf, reference, relativeError } from "./reference.ts";

/** Compares the outputs and all gradients of `count` layers with float64 loops. */
async function check(
  shape: number[],
  columns: number,
  count: number,
  bias = true,
): Promise<void> {
  const inner = shape.at(-1)!;
  const layers = Array.from({ length: count }, (_, i) => {
    const numbers = numbersOf({ shape, columns, bias }, 10 * i);
    return { ...numbers, x: numbersOf({ shape, columns }).x };
  });
  const want = layers.map((numbers) => reference({ shape, columns, bias }, numbers));

  const x = tf.tensor(layers[0]!.x, shape);
  const kernels = layers.map(({ kernel }) => tf.tensor2d(kernel, [inner, columns]));
  const biases = layers.flatMap(({ bias }) => bias ? [tf.tensor1d(bias)] : []);
  const yShape = [...shape.slice(0, -1), columns];
  const dys = tf.tidy(() => tf.stack(layers.map(({ dy }) => tf.tensor(dy, yShape))));
  const ys = tf.tidy(() => parallelLinear(x, kernels, biases));
  for (const [i, y] of ys.entries()) {
    assertEquals(y.shape, yShape);
    const error = relativeError(await y.data<"float32">(), want[i]!.y!);
    assert(error < 3e-6, `y${i} is off by ${error}`);
  }
  const grads = tf.tidy(() =>
    tf.grads((x, ...rest) =>
      tf.stack(parallelLinear(x!, rest.slice(0, count) as tf.Tensor2D[], rest.slice(count) as []))
    )([x, ...kernels, ...biases], dys)
  );
  const dx = want[0]!.x!.map((_, k) => want.reduce((sum, { x }) => sum + x![k]!, 0));
  const wanted = [dx, ...want.map(({ kernel }) => kernel!), ...want.map(({ bias }) => bias!)]
    .slice(0, 1 + count + biases.length);
  for (const [i, input] of [x, ...kernels, ...biases].entries()) {
    assertEquals(grads[i]!.shape, input.shape);
    const error = relativeError(await grads[i]!.data<"float32">(), wanted[i]!);
    assert(error < 1e-5, `gradient ${i} is off by ${error}`);
  }
  tf.dispose([x, ...kernels, ...biases, dys, ...ys, ...grads]);
}

for (
  const [shape, columns, count] of [
    [[3, 50, 32], 64, 3],
    [[3, 300, 5], 7, 3],
    [[9, 12], 20, 2],
    [[2, 3], 4, 1],
  ] as const
) {
  forEachBackend(
    `parallelLinear [${shape}] to ${count} of ${columns}`,
    () => check([...shape], columns, count),
  );
}

forEachBackend("parallelLinear without biases", () => check([3, 50, 32], 64, 3, false));

forEachBackend("parallelLinear with outputs spread over workgroups", async () => {
  const [rows, inner, columns, parts] = [300, 12, 20, 3];
  try {
    for (
      const product of [
        { layout: "nn", rows, depth: inner, columns, parts },
        { layout: "nt", rows, depth: columns, columns: inner, parts },
        { layout: "tn", rows: inner, depth: rows, columns, parts },
      ] as const
    ) measuredTiles.set(productKey(product), "plainSmall");
    await check([rows, inner], columns, parts);
  } finally {
    measuredTiles.clear();
  }
}, { backends: ["webgpu"] });

forEachBackend("parallelLinear on a device that binds 8 storage buffers", async () => {
  const { limits } = webgpuBackend().device;
  const name = "maxStorageBuffersPerShaderStage";
  try {
    Object.defineProperty(limits, name, { value: 8, configurable: true });
    assertEquals(webgpuBackend().device.limits[name], 8);
    await check([300, 12], 20, 3);
    // Two layers need 7 buffers forward, so here only the third dimension of the grid differs.
    await check([300, 12], 20, 2);
  } finally {
    delete (limits as unknown as Record<string, unknown>)[name];
  }
}, { backends: ["webgpu"] });

forEachBackend("parallelLinear refuses shapes that do not fit", () => {
  tf.tidy(() => {
    const [x, kernel, bias] = [tf.ones([2, 3]), tf.ones<tf.Rank.R2>([3, 4]), tf.ones([4])];
    const b = bias as tf.Tensor1D;
    assertThrows(() => parallelLinear(x, [kernel, kernel], [b]), Error, "not 1 for 2");
    assertThrows(() => parallelLinear(x, [], []), Error, "not 0 for 0");
    const other = tf.ones<tf.Rank.R2>([3, 5]);
    assertThrows(() => parallelLinear(x, [kernel, other], [b, b]), Error, "[3,4], [3,5]");
    assertThrows(() => parallelLinear(x, [kernel], [tf.ones([5])]), Error, "not [5]");
  });
}, { backends: ["cpu"] });
