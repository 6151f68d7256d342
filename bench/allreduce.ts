/**
 * What the sum of all gradients costs, beside what the memory can move: each rank copies an array of
 * that size, all at once, and then they sum it. A sum has at least to read the array of each rank and
 * to write it again, which is what the copies do, so their time is the least that a sum on one
 * machine can take.
 *
 * `mpirun -n 2 deno run --allow-read --allow-env --allow-ffi bench/allreduce.ts [elements]`
 */
import { findLibrary, sizeVariables } from "../lib/distributed/libraries.ts";
import { Mpi } from "../lib/distributed/mpi.ts";
import { median } from "./statistics.ts";

const rounds = 15;

const environment = Object.fromEntries(
  sizeVariables.flatMap((name) => Deno.env.has(name) ? [[name, Deno.env.get(name)!]] : []),
);
const mpi = Mpi.begin(await findLibrary(environment));
// By default the parameters of keras-cifar100.
const elements = Number(Deno.args[0] ?? 21_759_012);
const values = new Float32Array(elements).fill(1e-3);
const copy = new Float32Array(elements);

/** The median time of the slowest rank, in milliseconds. */
function timeOf(work: () => void): number {
  const times = Array.from({ length: rounds }, () => {
    mpi.barrier();
    const began = performance.now();
    work();
    const all = new Float64Array(mpi.size);
    all[mpi.rank] = performance.now() - began;
    mpi.sum(all);
    return Math.max(...all);
  });
  // The first rounds touch the memory for the first time.
  return median(times.slice(3));
}

const copied = timeOf(() => copy.set(values));
const summed = timeOf(() => mpi.sum(values));
if (mpi.rank === 0) {
  const { size, library } = mpi;
  const bytes = 4 * elements;
  const gigabytes = 2 * size * bytes / copied / 1e6;
  console.log(
    `${library.version}, ${size} ranks, ${(bytes / 1e6).toFixed(1)} MB: ` +
      `${copied.toFixed(1)} ms to copy it on all ranks at once (${gigabytes.toFixed(1)} GB/s), ` +
      `${summed.toFixed(1)} ms to sum it, ${Math.round(100 * copied / summed)} % of that bandwidth`,
  );
}
mpi.finalize();
