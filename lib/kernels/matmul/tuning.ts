/**
 * Fastest tile for a matrix product on this adapter: measured once, kept in a file.
 *
 * Nothing here happens by itself: a trainer loads what is known, has the rest measured, and saves
 * it. Products that nobody measured take a tile by the rule of `tiles.ts`, and no choice
 * changes a bit of any result.
 */
import { webgpuBackend } from "../../backend/compute.ts";
import { currentGpu, type Gpu, withGpuCheck } from "../../backend/device.ts";
import { flushBackend } from "../../backend/tfjs_internals.ts";
import { readSmallText, writeFileAtomic } from "../../files.ts";
import { ioError } from "../../io_error.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { matmul, matmulOverRows, type Product } from "./matmul.ts";
import {
  candidateTiles,
  hasSubgroupsOf8,
  measuredTiles,
  productKey,
  type ProductShape,
  type TileName,
  tiles,
} from "./tiles.ts";

/** Times of one product by tile, and the fastest. */
export interface TuningResult {
  /** The product's {@linkcode productKey}. */
  key: string;
  /** The fastest tile, which the product has from now on. */
  best: TileName;
  /** Milliseconds of one product by tile. */
  milliseconds: Partial<Record<TileName, number>>;
}

/** Options of {@linkcode tune}. */
export interface TuneOptions {
  /** Milliseconds that the device takes for what `run` encodes; by default measured. */
  measure?: (run: () => void) => Promise<number>;
  /** Called before each product is measured. */
  onProgress?: (done: number, count: number) => void;
}

/** Repeats of a measurement, of which the fastest counts: whatever disturbs, only slows down. */
const REPEATS = 3;
/** Operations of a measurement that is long enough, and how often a small product is repeated. */
const ENOUGH_FLOPS = 2e7;
const MOST_CALLS = 16;

/** Those products that have no measured tile, each once, in the form this device can run. */
export function untunedProducts(products: ProductShape[]): ProductShape[] {
  const limit = webgpuBackend().device.limits.maxStorageBuffersPerShaderStage;
  const fitting = products.map((product) => {
    // As in `parallelLinear`: the input, and for each part a kernel, a bias and an output; or their
    // sum, and for each part a kernel and its output's gradient.
    const buffers = 1 + (product.layout === "nt" ? 2 : 3) * (product.parts ?? 1);
    return buffers > limit ? { ...product, parts: 1 } : product;
  });
  const byKey = new Map(fitting.map((product) => [productKey(product), product]));
  return [...byKey].filter(([key]) => !measuredTiles.has(key)).map(([, product]) => product);
}

/**
 * Measures the products that have no measured tile, on the current webgpu backend.
 *
 * @throws {UserError} when the device is lost or out of memory.
 */
export async function tune(
  products: ProductShape[],
  { measure = deviceMilliseconds, onProgress }: TuneOptions = {},
): Promise<TuningResult[]> {
  const results: TuningResult[] = [];
  const wanted = untunedProducts(products);
  for (const [done, product] of wanted.entries()) {
    onProgress?.(done, wanted.length);
    results.push(await tuneOne(product, measure));
  }
  return results;
}

async function tuneOne(
  shape: ProductShape,
  measure: (run: () => void) => Promise<number>,
): Promise<TuningResult> {
  const { layout, rows, depth, columns, parts = 1 } = shape;
  const key = productKey(shape);
  const matrices = (count: number, size: number): tf.Tensor[] =>
    Array.from({ length: count }, () => tf.fill([size], 0.5));
  const a = matrices(layout === "nt" ? parts : 1, rows * depth);
  const b = matrices(parts, depth * columns);
  const product: Product = { ...shape, a, b };
  const calls = Math.ceil(
    Math.min(MOST_CALLS, ENOUGH_FLOPS / (2 * rows * depth * columns * parts)),
  );
  const run = () => {
    for (let call = 0; call < calls; call++) {
      const outputs: TensorInfo[] = layout === "tn"
        ? matmulOverRows(product, true)
        : matmul(product);
      for (const { dataId } of outputs) tf.backend().disposeData(dataId);
    }
  };

  const milliseconds: TuningResult["milliseconds"] = {};
  try {
    for (const name of candidateTiles(shape, hasSubgroupsOf8())) {
      measuredTiles.set(key, name);
      let fastest = Infinity;
      // The first run compiles the pipeline.
      for (let repeat = 0; repeat <= REPEATS; repeat++) {
        const time = await withGpuCheck(() => measure(run));
        if (repeat > 0) fastest = Math.min(fastest, time);
      }
      milliseconds[name] = fastest / calls;
    }
  } finally {
    measuredTiles.delete(key);
    tf.dispose([a, b]);
  }
  const [best] = (Object.entries(milliseconds) as [TileName, number][])
    .reduce((least, entry) => entry[1] < least[1] ? entry : least);
  measuredTiles.set(key, best);
  return { key, best, milliseconds };
}

async function deviceMilliseconds(run: () => void): Promise<number> {
  return currentGpu()?.features.has("timestamp-query")
    ? (await tf.time(run)).kernelMs as number
    : await millisecondsByClock(run);
}

/** Milliseconds that the device takes for what `run` encodes, where it has no timestamp queries. */
export async function millisecondsByClock(run: () => void): Promise<number> {
  const { queue } = webgpuBackend().device;
  flushBackend();
  await queue.onSubmittedWorkDone();
  const start = performance.now();
  // Deno looks only every 10 ms whether the device is done; many runs make that small.
  for (let i = 0; i < MOST_CALLS; i++) run();
  flushBackend();
  await queue.onSubmittedWorkDone();
  return (performance.now() - start) / MOST_CALLS;
}

/** Tiles by product, by what they were measured on. */
type TuningFile = Record<string, Record<string, string>>;

/** Facts that the choices depend on: the adapter, who drives it, and our kernels. */
function identityOf({ description, info }: Gpu, version: string): string {
  const { vendor, architecture, device } = info;
  return [description, vendor, architecture, device, `Deno ${Deno.version.deno}`, version]
    .filter((part) => part !== "").join(" | ");
}

/**
 * Takes over the measured tiles that a file has for the current adapter. A file that is missing,
 * broken or made by others counts as empty.
 *
 * @param version This project's version.
 * @returns How many products have a tile from the file.
 */
export async function loadTuning(path: string, version: string): Promise<number> {
  const gpu = currentGpu();
  if (!gpu) return 0;
  const subgroups = hasSubgroupsOf8();
  let count = 0;
  for (
    const [key, name] of Object.entries((await readFile(path))[identityOf(gpu, version)] ?? {})
  ) {
    if (!Object.hasOwn(tiles, name)) continue;
    if (tiles[name as TileName].kind === "subgroup" && !subgroups) continue;
    measuredTiles.set(key, name as TileName);
    count++;
  }
  return count;
}

/**
 * Writes the measured tiles of the current adapter; those of other adapters in the file stay.
 *
 * @param version This project's version.
 * @throws {UserError} when the file cannot be written.
 */
export async function saveTuning(path: string, version: string): Promise<void> {
  const gpu = currentGpu();
  if (!gpu) return;
  const content = await readFile(path);
  content[identityOf(gpu, version)] = Object.fromEntries([...measuredTiles].sort());
  const folder = path.replace(/[^/\\]*$/, "");
  if (folder !== "") {
    await Deno.mkdir(folder, { recursive: true }).catch((error) => {
      throw ioError(error, "make", folder);
    });
  }
  // Two processes may save at once, and a reader must never see half a file.
  await writeFileAtomic(path, [new TextEncoder().encode(JSON.stringify(content, null, 2) + "\n")]);
}

async function readFile(path: string): Promise<TuningFile> {
  let content: unknown;
  try {
    content = JSON.parse(await readSmallText(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return {};
    throw error;
  }
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject(content)) return {};
  const isTileMap = (value: unknown): value is Record<string, string> =>
    isObject(value) && Object.values(value).every((name) => typeof name === "string");
  return Object.fromEntries(
    Object.entries(content).filter((entry): entry is [string, Record<string, string>] =>
      isTileMap(entry[1])
    ),
  );
}
