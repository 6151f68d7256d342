/**
 * What the sum of all gradients costs, beside what the memory can move: each rank copies an array of
 * that size, all at once, and then they sum it. A sum has at least to read the array of each rank and
 * to write it again, which is what the copies do, so their time is the least that a sum on one
 * machine can take. Then they sum as a step does, each gradient in its own array; the time that this
 * takes without MPI is a step's host time.
 *
 * `mpirun -n 2 deno run --allow-read --allow-env --allow-ffi bench/allreduce.ts [preset]`
 */
import { preset, type PresetName } from "../lib/config/run.ts";
import { findLibrary, sizeVariables } from "../lib/distributed/libraries.ts";
import { Mpi } from "../lib/distributed/mpi.ts";
import { ArraySums, type Ranks } from "../lib/distributed/ranks.ts";
import { gradientSizes } from "./scaling.ts";
import { median } from "./statistics.ts";

const rounds = 15;

const environment = Object.fromEntries(
  sizeVariables.flatMap((name) => Deno.env.has(name) ? [[name, Deno.env.get(name)!]] : []),
);
const mpi = Mpi.begin(await findLibrary(environment));
const name = (Deno.args[0] ?? "keras-cifar100") as PresetName;
const sizes = gradientSizes(preset(name));
const elements = sizes.reduce((sum, size) => sum + size, 0);
const values = new Float32Array(elements).fill(1e-3);
const copy = new Float32Array(elements);
const gradients = sizes.map((size) => new Float32Array(size).fill(1e-3));

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

const alone: Ranks = {
  ...{ rank: 0, size: 1, processor: mpi.processor },
  ...{ sum: () => {}, broadcast: () => {}, barrier: () => {} },
};
const [sums, onlyHost] = [new ArraySums(mpi), new ArraySums(alone)];
const copied = timeOf(() => copy.set(values));
const summed = timeOf(() => mpi.sum(values));
const inStep = timeOf(() => sums.sum(gradients));
const onHost = timeOf(() => onlyHost.sum(gradients));
if (mpi.rank === 0) {
  const { size, library } = mpi;
  const bytes = 4 * elements;
  const gigabytes = 2 * size * bytes / copied / 1e6;
  console.log(
    `${library.version}, ${size} ranks, ${(bytes / 1e6).toFixed(1)} MB of ${name}: ` +
      `${copied.toFixed(1)} ms to copy it on all ranks at once (${gigabytes.toFixed(1)} GB/s), ` +
      `${summed.toFixed(1)} ms to sum it, ${Math.round(100 * copied / summed)} % of that bandwidth`,
  );
  console.log(
    `as the ${sizes.length} gradients of a step: ${inStep.toFixed(1)} ms, of which ` +
      `${onHost.toFixed(2)} ms are the host's`,
  );
}
mpi.finalize();
Deno.exit(0);
