import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { matmul, matmulOverRows, matrixOf } from "../../../lib/kernels/matmul/matmul.ts";
import {
  candidateTiles,
  hasSubgroupsOf8,
  type Layout,
  measuredTiles,
  productKey,
  type ProductShape,
} from "../../../lib/kernels/matmul/tiles.ts";
import { type TensorInfo, tf } from "../../../lib/tfjs.ts";
import { forEachBackend } from "../../backends.ts";
import { normals } from "../linear/reference.ts";

const onWebgpu = { backends: ["webgpu"] as const };

/** The shapes of the operands as they lie in memory. */
function shapesOf({ layout, rows, depth, columns }: ProductShape): [number[], number[]] {
  return [
    layout === "tn" ? [depth, rows] : [rows, depth],
    layout === "nt" ? [columns, depth] : [depth, columns],
  ];
}

/** a @ b in float64, both as they lie in memory. */
function reference(shape: ProductShape, a: Float32Array, b: Float32Array): Float64Array {
  const { layout, rows, depth, columns } = shape;
  const output = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < depth; k++) {
      const left = a[layout === "tn" ? k * rows + row : row * depth + k]!;
      for (let column = 0; column < columns; column++) {
        const right = b[layout === "nt" ? column * depth + k : k * columns + column]!;
        output[row * columns + column]! += left * right;
      }
    }
  }
  return output;
}

async function take(infos: TensorInfo[]): Promise<Float32Array[]> {
  const values: Float32Array[] = [];
  for (const info of infos) {
    const tensor = tf.engine().makeTensorFromTensorInfo(info);
    values.push(await tensor.data<"float32">());
    tensor.dispose();
  }
  return values;
}

function assertClose(actual: Float32Array, expected: Float64Array, what: string) {
  assertEquals(actual.length, expected.length, what);
  actual.forEach((value, i) => assertAlmostEquals(value, expected[i]!, 1e-3, `${what} at ${i}`));
}

for (const layout of ["nn", "nt", "tn"] as Layout[]) {
  forEachBackend(`${layout} is the product, in every tile to the same bits`, async () => {
    for (const [rows, depth, columns] of [[5, 7, 3], [33, 40, 20], [8, 64, 36]]) {
      const shape = { layout, rows: rows!, depth: depth!, columns: columns! };
      const [aShape, bShape] = shapesOf(shape);
      const [x, y] = [normals(aShape, 1), normals(bShape, 2)];
      const [a, b] = [tf.tensor(x, aShape), tf.tensor(y, bShape)];
      const run = async () => {
        const product = { ...shape, a, b };
        return (await take(layout === "tn" ? matmulOverRows(product, false) : matmul(product)))[0]!;
      };
      const byRule = await run();
      assertClose(byRule, reference(shape, x, y), `${layout} ${rows}x${depth}x${columns}`);
      try {
        for (const name of candidateTiles(shape, hasSubgroupsOf8())) {
          measuredTiles.set(productKey(shape), name);
          assertEquals(await run(), byRule, name);
        }
      } finally {
        measuredTiles.clear();
      }
      tf.dispose([a, b]);
    }
  }, onWebgpu);
}

forEachBackend("parts of nn have an output each, and parts of nt are added up", async () => {
  const shape = { rows: 9, depth: 6, columns: 8 };
  for (const layout of ["nn", "nt"] as const) {
    const [aShape, bShape] = shapesOf({ layout, ...shape });
    const xs = [1, 2, 3].map((stream) => normals(aShape, stream));
    const ys = [4, 5, 6].map((stream) => normals(bShape, stream));
    const as = xs.map((x) => tf.tensor(x, aShape));
    const bs = ys.map((y) => tf.tensor(y, bShape));
    const a = layout === "nn" ? as[0]! : as;
    const outputs = await take(matmul({ layout, ...shape, a, b: bs }));
    const expected = ys.map((y, i) =>
      reference({ layout, ...shape }, xs[layout === "nn" ? 0 : i]!, y)
    );
    if (layout === "nn") outputs.forEach((output, i) => assertClose(output, expected[i]!, `${i}`));
    else {
      const sum = expected[0]!.map((value, i) => value + expected[1]![i]! + expected[2]![i]!);
      assertEquals(outputs.length, 1);
      assertClose(outputs[0]!, sum, "the sum");
    }
    tf.dispose([as, bs]);
  }
}, onWebgpu);

forEachBackend("a tn product of many rows is split, and has its columns summed", async () => {
  const shape: ProductShape = { layout: "tn", rows: 6, depth: 1100, columns: 5 };
  const [aShape, bShape] = shapesOf(shape);
  const [x, y] = [normals(aShape, 1), normals(bShape, 2)];
  const [a, b] = [tf.tensor(x, aShape), tf.tensor(y, bShape)];
  const [product, sums] = await take(matmulOverRows({ ...shape, a, b }, true));
  assertClose(product!, reference(shape, x, y), "product");
  const expected = new Float64Array(5);
  y.forEach((value, i) => expected[i % 5]! += value);
  assertClose(sums!, expected, "sums");
  tf.dispose([a, b]);
}, onWebgpu);

forEachBackend("the epilogue adds bias and residual, and multiplies by the factor", async () => {
  const shape = { layout: "nn", rows: 4, depth: 3, columns: 4 } as const;
  const [a, b] = [tf.ones([4, 3]), tf.ones([3, 4])];
  const bias = tf.tensor1d([1, 2, 3, 4]);
  const residual = tf.fill([2, 4], 10);
  const factor = tf.fill([4, 4], 2);
  const [y] = await take(matmul({ ...shape, a, b }, { bias, residual, factor }));
  assertEquals([...y!], [1, 2, 3, 4, 5].slice(0, 4).map(() => [28, 30, 32, 34]).flat());
  tf.dispose([a, b, bias, residual, factor]);
}, onWebgpu);

Deno.test("a tensor is a matrix of its last dimension's rows", () => {
  const info = { dataId: {}, dtype: "float32", shape: [2, 3, 4] } as TensorInfo;
  const matrix = matrixOf(info, 4);
  assertEquals(matrix.shape, [6, 4]);
  assert(matrix.dataId === info.dataId);
});
