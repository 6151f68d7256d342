import { assert, assertEquals, assertRejects } from "@std/assert";
import { runFolder } from "../../lib/checkpoint/run_folder.ts";
import { loadState } from "../../lib/checkpoint/state.ts";
import { earlierPath, loadNewestState, StateKeeper } from "../../lib/checkpoint/states.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder, names } from "./folder.ts";
import { stateAt } from "./states_of_runs.ts";

const step = (n: number) => `step-${String(n).padStart(8, "0")}.safetensors`;

async function damage(path: string): Promise<void> {
  const bytes = await Deno.readFile(path);
  bytes[bytes.length - 1]! ^= 1;
  await Deno.writeFile(path, bytes);
}

Deno.test("as many states stay as were asked for, the newest as last", () =>
  inFolder(async (folder) => {
    for (const keep of [1, 2, 4]) {
      const path = `${folder}/${keep}`;
      await Deno.mkdir(path);
      const run = runFolder(path);
      const keeper = new StateKeeper(run, keep);
      for (const at of [0, 10, 20, 30, 40]) await keeper.save(stateAt(at));
      const earlier = [30, 20, 10].slice(0, keep - 1);
      assertEquals(await names(path), ["last.safetensors", ...earlier.map(step).sort()]);
      assertEquals((await loadState(run.last)).step, 40);
      for (const at of earlier) assertEquals((await loadState(earlierPath(run, at))).step, at);
    }
  }));

Deno.test("saving the same step again keeps the one before it", () =>
  inFolder(async (folder) => {
    const run = runFolder(folder);
    const keeper = new StateKeeper(run, 2);
    for (const at of [10, 20, 20, 20]) await keeper.save(stateAt(at));
    assertEquals(await names(folder), ["last.safetensors", step(10)]);
  }));

Deno.test("the newest valid state is found, and the damaged ones are told", () =>
  inFolder(async (folder) => {
    const run = runFolder(folder);
    assertEquals(await loadNewestState(run), null);
    const keeper = new StateKeeper(run, 3);
    for (const at of [10, 20, 30]) await keeper.save(stateAt(at));
    const found = async () => {
      const { state, path, refused } = (await loadNewestState(run))!;
      return [state.step, path, refused.map(({ path }) => path)];
    };
    assertEquals(await found(), [30, run.last, []]);
    await damage(run.last);
    assertEquals(await found(), [20, earlierPath(run, 20), [run.last]]);
    assert((await loadNewestState(run))!.refused[0]!.reason.includes("is damaged: tensor"));
    await Deno.truncate(earlierPath(run, 20), 100);
    assertEquals(await found(), [10, earlierPath(run, 10), [run.last, earlierPath(run, 20)]]);
    await Deno.remove(run.last);
    assertEquals(await found(), [10, earlierPath(run, 10), [earlierPath(run, 20)]]);
    await damage(earlierPath(run, 10));
    await assertRejects(() => loadNewestState(run), UserError, "None of the 2 states");
    await Deno.remove(earlierPath(run, 20));
    await assertRejects(() => loadNewestState(run), UserError, "is damaged");
  }));

Deno.test("a damaged last never takes the place of a good state", () =>
  inFolder(async (folder) => {
    const run = runFolder(folder);
    const before = new StateKeeper(run, 3);
    for (const at of [10, 20, 30]) await before.save(stateAt(at));
    await damage(run.last);
    await damage(earlierPath(run, 20));
    // A run resumed from step 10; its own saves begin anew.
    const after = new StateKeeper(run, 3);
    await after.save(stateAt(15));
    assertEquals(await names(folder), ["last.safetensors", step(10)]);
    assertEquals((await loadState(run.last)).step, 15);
    assertEquals((await loadState(earlierPath(run, 10))).step, 10);
  }));

Deno.test("a good last of an earlier process becomes the one before", () =>
  inFolder(async (folder) => {
    const run = runFolder(folder);
    await new StateKeeper(run, 2).save(stateAt(10));
    await new StateKeeper(run, 2).save(stateAt(20));
    assertEquals(await names(folder), ["last.safetensors", step(10)]);
  }));

Deno.test("a save that fails deletes nothing", () =>
  inFolder(async (folder) => {
    const run = runFolder(folder);
    const keeper = new StateKeeper(run, 2);
    for (const at of [10, 20]) await keeper.save(stateAt(at));
    const broken = stateAt(30);
    Object.assign(broken, { moments1: new Map([["other", broken.weights.get("norm.gamma")!]]) });
    await assertRejects(() => keeper.save(broken), RangeError);
    assertEquals(await names(folder), ["last.safetensors", step(10)]);
    assertEquals((await loadState(run.last)).step, 20);
  }));
