import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { ArraySums, type Ranks } from "../../lib/distributed/ranks.ts";
import { jsonLines } from "../tasks/run_task.ts";
import { denoWithMpi, forEachLibrary, launch, type Launcher } from "./mpirun.ts";

/** What each of two ranks found, in the order of the ranks. */
async function twoRanks(launcher: Launcher, action: string) {
  const command = denoWithMpi("ranks_process.ts", action);
  const { code, stdout, stderr } = await launch(launcher, { ranks: 2, command });
  assertEquals(code, 0, stderr);
  const found = jsonLines(stdout).sort((a, b) => a.rank - b.rank);
  assertEquals(found.map(({ rank, size }) => [rank, size]), [[0, 2], [1, 2]]);
  for (const { library, processor } of found) {
    assertEquals(library.version.startsWith(launcher.library), true, library.version);
    assertNotEquals(processor, "");
  }
  return found.map(({ result }) => result);
}

forEachLibrary("ranks have each other's sums", async (launcher) => {
  const [first, second] = await twoRanks(launcher, "sums");
  assertEquals(first, second);
  assertEquals(first, {
    floats: [1, 3, 5, 7, 9],
    doubles: [1 / 3 + (1 / 3 + 1)],
    shortest: [3, 3],
    longest: [3, 3],
  });
});

forEachLibrary("ranks have each other's texts", async (launcher) => {
  const texts = await twoRanks(launcher, "texts");
  texts.forEach(({ broadcast, empty, gathered, onMachine }, rank) => {
    assertEquals([broadcast, empty], ["größer 1", ""]);
    assertEquals(gathered, ["", "x"]);
    assertEquals(onMachine, { rank, size: 2 });
  });
});

forEachLibrary("what fails on one rank is thrown on all, and by its rank", async (launcher) => {
  for (const { none, one, all, same, other, missing } of await twoRanks(launcher, "failures")) {
    assertEquals([none, same], [null, null]);
    assertEquals(one, "UserError: Rank 1: no disk.");
    assertEquals(all, "UserError: no disk.");
    assert(/^UserError: Rank 1: b is \[1,1\] on .*, and \[1,0\] on rank 0; /.test(other), other);
    assert(/^UserError: Rank 1: a is undefined on .*, and 1 on rank 0; /.test(missing), missing);
  }
});

forEachLibrary("a machine's first rank has its turn before the others", async (launcher) => {
  const [{ began }] = await twoRanks(launcher, "turns");
  assert(began[1] - began[0] >= 200, `${began}`);
});

forEachLibrary("a rank that aborts ends those that wait for it", async (launcher) => {
  const command = denoWithMpi("ranks_process.ts", "fails");
  const began = performance.now();
  const { code, stdout } = await launch(launcher, { ranks: 2, command });
  assertEquals([code, stdout.includes("not ended")], [3, false]);
  assert(performance.now() - began < 10_000);
});

Deno.test("sums of the same arrays take the same memory each time", () => {
  const summed: Float32Array[] = [];
  const only: Ranks = {
    ...{ rank: 0, size: 1, processor: "here", broadcast: () => {}, barrier: () => {} },
    sum: (values) => void summed.push(values as Float32Array),
  };
  const sums = new ArraySums(only);
  const arrays = [new Float32Array(2), new Float32Array(1 << 16), new Float32Array(3)];
  sums.sum(arrays);
  sums.sum(arrays);
  assertEquals(summed.map(({ length }) => length), [5, 1 << 16, 5, 1 << 16]);
  assert(summed[0] === summed[2] && summed[1] === arrays[1]);
});
