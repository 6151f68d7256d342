/** A rank of ranks_test.ts: does what its argument says, and prints what came of it as JSON. */
import { Mpi } from "../../lib/distributed/mpi.ts";
import { findLibrary, sizeVariables } from "../../lib/distributed/libraries.ts";
import {
  ArraySums,
  assertSame,
  broadcastText,
  gatherTexts,
  inTurns,
  rankOnMachine,
  together,
} from "../../lib/distributed/ranks.ts";
import { UserError } from "../../lib/errors.ts";

const environment = Object.fromEntries(
  sizeVariables.flatMap((name) => Deno.env.has(name) ? [[name, Deno.env.get(name)!]] : []),
);
const mpi = Mpi.begin(await findLibrary(environment));

const messageOf = (work: () => Promise<unknown>) =>
  work().then(() => null, (error: Error) => `${error.name}: ${error.message}`);

const actions: Record<string, () => Promise<unknown>> = {
  sums() {
    const floats = Float32Array.from({ length: 5 }, (_, i) => i + mpi.rank);
    const doubles = Float64Array.of(1 / 3 + mpi.rank);
    mpi.sum(floats);
    mpi.sum(doubles);
    // One that is summed by itself between two that are packed, after others.
    const sums = new ArraySums(mpi);
    sums.sum([new Float32Array(1), new Float32Array(7)]);
    const arrays = [3, 100_000, 2].map((length) => new Float32Array(length).fill(mpi.rank + 1));
    sums.sum(arrays);
    const [shortest, longest] = arrays.map((array) => [Math.min(...array), Math.max(...array)]);
    return Promise.resolve({ floats: [...floats], doubles: [...doubles], shortest, longest });
  },
  texts() {
    return Promise.resolve({
      broadcast: broadcastText(mpi, `größer ${mpi.rank}`, 1),
      empty: broadcastText(mpi, ""),
      gathered: gatherTexts(mpi, "x".repeat(mpi.rank)),
      onMachine: rankOnMachine(mpi),
    });
  },
  async failures() {
    const fail = (isMine: boolean) => () => {
      if (isMine) throw new UserError("no disk.");
    };
    return {
      none: await messageOf(() => together(mpi, fail(false))),
      one: await messageOf(() => together(mpi, fail(mpi.rank === 1))),
      all: await messageOf(() => together(mpi, fail(true))),
      same: await messageOf(() => assertSame(mpi, { a: 1, b: [1, 2] })),
      other: await messageOf(() => assertSame(mpi, { a: 1, b: [1, mpi.rank] })),
      missing: await messageOf(() => assertSame(mpi, mpi.rank === 0 ? { a: 1 } : {})),
    };
  },
  async turns() {
    const began = await inTurns(mpi, async () => {
      const time = Date.now();
      await new Promise((resolve) => setTimeout(resolve, 200));
      return time;
    });
    return { began: gatherTexts(mpi, `${began}`).map(Number) };
  },
  async fails() {
    // The others wait for it in a sum.
    if (mpi.rank === 1) mpi.abort(3);
    mpi.sum(new Float32Array(1));
    return await Promise.resolve("not ended");
  },
};

const { rank, size, processor, library } = mpi;
const result = await actions[Deno.args[0]!]!();
console.log(JSON.stringify({ rank, size, processor, library, result }));
mpi.finalize();
