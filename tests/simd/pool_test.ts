import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { hostAllocate, hostFloats } from "../../lib/backend/host.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import type { WasmInternals } from "../../lib/backend/tfjs_internals.ts";
import { currentPool, Pool } from "../../lib/simd/pool.ts";
import {
  type Layout,
  matrixProduct,
  productScratch,
  productWords,
  runProduct,
} from "../../lib/simd/product.ts";
import { withSharedMemory } from "../../lib/simd/shared_heap.ts";
import { type TensorInfo, tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

const onWasm = { backends: ["wasm"] } as const;

forEachBackend("the pool is open under wasm, with a thread for each processor", () => {
  assertEquals(currentPool()!.workers, navigator.hardwareConcurrency - 1);
}, onWasm);

forEachBackend("as many threads compute as are asked for", async () => {
  await selectBackend("wasm", { threads: 3 });
  assertEquals(currentPool()!.workers, 2);
  await selectBackend("wasm", { threads: 1 });
  assertEquals(currentPool()!.workers, 0);
  await selectBackend("wasm");
  assertEquals(currentPool()!.workers, navigator.hardwareConcurrency - 1);
}, onWasm);

forEachBackend("other backends have no pool", () => {
  assertEquals(currentPool(), undefined);
}, { backends: ["webgpu", "cpu"] });

interface Operands {
  a: tf.Tensor;
  b: tf.Tensor;
  c: TensorInfo;
}

/** Operands of whole numbers, whose products and sums float32 holds exactly. */
function operands(rows: number, depth: number, columns: number): Operands {
  return {
    a: tf.tensor1d(Float32Array.from({ length: rows * depth }, (_, i) => i * 7 % 11 - 5)),
    b: tf.tensor1d(Float32Array.from({ length: depth * columns }, (_, i) => i * 5 % 13 - 6)),
    c: hostAllocate([rows, columns]),
  };
}

function dispose({ a, b, c }: Operands): void {
  tf.dispose([a, b]);
  tf.backend().disposeData(c.dataId);
}

/** Rows, depth and columns: whole tiles, edges of every kind, sums in several pieces. */
const sizes: [number, number, number][] = [
  [64, 128, 64],
  [1, 1, 1],
  [37, 19, 51],
  [6, 577, 9],
  [130, 1300, 12],
  [3, 5, 300],
  [70, 8, 7],
];

for (const layout of ["nn", "nt", "tn"] as Layout[]) {
  for (const [rows, depth, columns] of sizes) {
    forEachBackend(`a product ${layout} of ${rows} x ${depth} x ${columns} is exact`, () => {
      const pool = currentPool()!;
      const tensors = operands(rows, depth, columns);
      const { a, b, c } = tensors;
      const product = matrixProduct(pool, layout, [a, b, c], { rows, depth, columns });
      runProduct(pool, product);
      const [x, y] = [hostFloats(a), hostFloats(b)];
      const expected = Float32Array.from({ length: rows * columns }, (_, i) => {
        const [m, n] = [Math.floor(i / columns), i % columns];
        let sum = 0;
        for (let k = 0; k < depth; k++) {
          sum += x[layout === "tn" ? k * rows + m : m * depth + k]! *
            y[layout === "nt" ? n * depth + k : k * columns + n]!;
        }
        return sum;
      });
      assertEquals(hostFloats(c).slice(), expected);
      dispose(tensors);
    }, onWasm);
  }
}

/** A product of random numbers, by a pool in blocks of that size. */
function bytesOf(pool: Pool, rowsEach: number, columnsEach: number): Uint8Array {
  const [rows, depth, columns] = [300, 700, 90];
  const a = tf.randomUniform([rows, depth], -1, 1, "float32", 3);
  const b = tf.randomUniform([depth, columns], -1, 1, "float32", 4);
  const c = hostAllocate([rows, columns]);
  const product = matrixProduct(pool, "nn", [a, b, c], { rows, depth, columns });
  const work = {
    tasks: Math.ceil(rows / rowsEach) * Math.ceil(columns / columnsEach),
    scratch: productScratch(depth, columnsEach),
    cost: Infinity,
  };
  pool.run("productTask", work, [productWords(product), rowsEach, columnsEach, 0]);
  const bytes = new Uint8Array(hostFloats(c).slice().buffer);
  dispose({ a, b, c });
  return bytes;
}

forEachBackend("any number of threads, and any blocks, make the same bytes", () => {
  const backend = tf.backend() as unknown as WasmInternals;
  const alone = bytesOf(new Pool(backend, 0), 300, 90);
  for (const workers of [0, 1, 3]) {
    const pool = new Pool(backend, workers);
    for (const [rowsEach, columnsEach] of [[4, 90], [64, 16], [300, 8], [36, 40]] as const) {
      for (let again = 0; again < 5; again++) {
        assertEquals(bytesOf(pool, rowsEach, columnsEach), alone);
      }
    }
  }
}, onWasm);

forEachBackend("workers start", async () => {
  const pool = new Pool(tf.backend() as unknown as WasmInternals, 2);
  const deadline = performance.now() + 20_000;
  while (pool.started < 2 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assertEquals(pool.started, 2);
}, onWasm);

forEachBackend("an unaligned rest of a row is neither read nor written", () => {
  const pool = currentPool()!;
  const x = tf.tensor1d([1, 2, 3, 4, 5, 6, 7, 8]);
  const y = hostAllocate([8]);
  hostFloats(y).fill(-1);
  pool.run("multiplyTask", { tasks: 1, cost: 0 }, [y, x, x, 7, 7]);
  assertEquals([...hostFloats(y)], [1, 4, 9, 16, 25, 36, 49, -1]);
  x.dispose();
  tf.backend().disposeData(y.dataId);
}, onWasm);

forEachBackend("a tensor outlives the growth of the heap", async () => {
  const small = tf.range(0, 1000);
  const large = tf.zeros([2 ** 26]);
  const sum = small.sum();
  assertAlmostEquals((await sum.data())[0]!, 499500);
  tf.dispose([small, large, sum]);
}, onWasm);

Deno.test("a module without a memory that can be shared is refused", () => {
  const empty = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
  assertThrows(() => withSharedMemory(empty), Error, "no memory of limited size");
});

Deno.test("a module's memory becomes a shared one, and nothing else changes", () => {
  // A memory of 1 to 2 pages, and a custom section after it.
  const module = Uint8Array.of(
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[5, 4, 1, 1, 1, 2],
    ...[0, 2, 1, 65],
  );
  const shared = withSharedMemory(module);
  assertEquals(shared, module.with(11, 3));
  assert(WebAssembly.validate(shared));
});
