/**
 * Fastest tile for a matrix product on this adapter, by measurement.
 *
 * Nothing here happens by itself: a trainer loads what is known (`../tuning_file.ts`), has the rest
 * measured, and saves it. Products that nobody measured take a tile by the rule of `tiles.ts`, and no
 * choice changes a bit of any result.
 */
import { webgpuBackend } from "../../backend/compute.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { chooseFastest, MOST_CALLS, type TuneOptions, type TuningResult } from "../measure.ts";
import { dispose } from "../register.ts";
import { matmul, matmulOverRows, type Product } from "./matmul.ts";
import {
  candidateTiles,
  hasSubgroupsOf8,
  measuredTiles,
  productKey,
  type ProductShape,
  type TileName,
} from "./tiles.ts";

/** Operations of a measurement that is long enough. */
const ENOUGH_FLOPS = 2e7;

/** A product in the form this device can run: in parts of their own where it cannot bind them all. */
export function bindable(product: ProductShape): ProductShape {
  const limit = webgpuBackend().device.limits.maxStorageBuffersPerShaderStage;
  // As in `parallelLinear`: the input, and for each part a kernel, a bias and an output; or their
  // sum, and for each part a kernel and its output's gradient.
  const buffers = 1 + (product.layout === "nt" ? 2 : 3) * (product.parts ?? 1);
  return buffers > limit ? { ...product, parts: 1 } : product;
}

/** Those products that have no measured tile, each once, in the form this device can run. */
export function untunedProducts(products: ProductShape[]): ProductShape[] {
  const byKey = new Map(products.map(bindable).map((product) => [productKey(product), product]));
  return [...byKey].filter(([key]) => !measuredTiles.has(key)).map(([, product]) => product);
}

/**
 * Measures the products that have no measured tile, on the current webgpu backend.
 *
 * @throws {UserError} when the device is lost or out of memory.
 */
export async function tune(
  products: ProductShape[],
  options: TuneOptions = {},
): Promise<TuningResult<TileName>[]> {
  const results: TuningResult<TileName>[] = [];
  const wanted = untunedProducts(products);
  for (const [done, product] of wanted.entries()) {
    options.onProgress?.(done, wanted.length);
    results.push(await tuneOne(product, options));
  }
  return results;
}

async function tuneOne(
  shape: ProductShape,
  options: TuneOptions,
): Promise<TuningResult<TileName>> {
  const { layout, rows, depth, columns, parts = 1 } = shape;
  const matrices = (count: number, size: number): tf.Tensor[] =>
    Array.from({ length: count }, () => tf.fill([size], 0.5));
  const a = matrices(layout === "nt" ? parts : 1, rows * depth);
  const b = matrices(parts, depth * columns);
  const product: Product = { ...shape, a, b };
  const call = () => {
    const outputs: TensorInfo[] = layout === "tn" ? matmulOverRows(product, true) : matmul(product);
    dispose(...outputs);
  };
  try {
    return await chooseFastest({
      key: productKey(shape),
      names: candidateTiles(shape, hasSubgroupsOf8()),
      chosen: measuredTiles,
      call,
      calls: Math.ceil(
        Math.min(MOST_CALLS, ENOUGH_FLOPS / (2 * rows * depth * columns * parts)),
      ),
    }, options);
  } finally {
    tf.dispose([a, b]);
  }
}
