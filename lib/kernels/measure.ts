/** Measurements that choose between ways to compute the same. */
import { webgpuBackend } from "../backend/compute.ts";
import { currentGpu, withGpuCheck } from "../backend/device.ts";
import { flushBackend } from "../backend/tfjs_internals.ts";
import { tf } from "../tfjs.ts";

/** Times of one shape by choice, and the fastest. */
export interface TuningResult<Name extends string> {
  /** The name of the shape. */
  key: string;
  /** The fastest choice, which the shape has from now on. */
  best: Name;
  /** Milliseconds of one call by choice. */
  milliseconds: Partial<Record<Name, number>>;
}

/** Options of a measurement. */
export interface TuneOptions {
  /** Milliseconds that the device takes for what `run` encodes; by default measured. */
  measure?: (run: () => void) => Promise<number>;
  /** Called before each shape is measured. */
  onProgress?: (done: number, count: number) => void;
}

/** What is measured. */
export interface Candidates<Name extends string> {
  /** The name of the shape in `chosen`. */
  key: string;
  names: readonly Name[];
  /** Choices that the kernels obey. */
  chosen: Map<string, Name>;
  /** Encodes one call. */
  call: () => void;
  /** How often a measurement repeats it. */
  calls: number;
}

/** Repeats of a measurement, of which the fastest counts: whatever disturbs, only slows down. */
const REPEATS = 3;
/** How often a small call is repeated at most, for one timestamp does not resolve it. */
export const MOST_CALLS = 16;

/**
 * Measures all candidates on the current webgpu backend and chooses the fastest.
 *
 * @throws {UserError} when the device is lost or out of memory.
 */
export async function chooseFastest<Name extends string>(
  { key, names, chosen, call, calls }: Candidates<Name>,
  { measure = deviceMilliseconds }: TuneOptions = {},
): Promise<TuningResult<Name>> {
  const run = () => {
    for (let i = 0; i < calls; i++) call();
  };
  const times = new Map<Name, number>();
  try {
    for (const name of names) {
      chosen.set(key, name);
      let fastest = Infinity;
      // The first run compiles the pipeline.
      for (let repeat = 0; repeat <= REPEATS; repeat++) {
        const time = await withGpuCheck(() => measure(run));
        if (repeat > 0) fastest = Math.min(fastest, time);
      }
      times.set(name, fastest / calls);
    }
  } finally {
    chosen.delete(key);
  }
  const [best] = [...times].reduce((least, entry) => entry[1] < least[1] ? entry : least);
  chosen.set(key, best);
  return { key, best, milliseconds: Object.fromEntries(times) as Partial<Record<Name, number>> };
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
