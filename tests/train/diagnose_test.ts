/** Runs whose numbers leave the range of float32. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { readHistory } from "../../lib/checkpoint/history.ts";
import { loadState } from "../../lib/checkpoint/state.ts";
import { UserError } from "../../lib/errors.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { goOn, on, stopAt, tinyRun, train } from "./tiny_run.ts";

forEachBackend("skip: a step whose gradient is NaN is left out and counted", async () => {
  await inFolder(async (folder) => {
    const plain = await train(`${folder}/plain`, tinyRun);
    const guarded = await train(`${folder}/guarded`, tinyRun, { onNan: "skip" });
    // Without such a step it is the same run, to the last bit.
    assertEquals(
      await Deno.readFile(guarded.folder.last),
      await Deno.readFile(plain.folder.last),
    );

    const config = { ...tinyRun, learningRate: 1e30 };
    for (const readInterval of [0, Infinity]) {
      const { message } = await assertRejects(
        () => train(`${folder}/${readInterval}`, config, { onNan: "skip", readInterval }),
        UserError,
      );
      // The first update is huge but finite; all after it are left out, and validation ends it.
      assert(message.startsWith("The validation loss became NaN or infinite at step 3"), message);
    }
  });
});

/** Makes the images of the steps after those `bad` NaN, until it is disposed of. */
function poison(bad: number[]): Disposable {
  const { trainingValues } = DeviceSplit.prototype;
  DeviceSplit.prototype.trainingValues = function (indices, config, step) {
    const values = trainingValues.call(this, indices, config, step);
    if (bad.includes(step)) values.transforms!.values.fill(NaN);
    return values;
  };
  return { [Symbol.dispose]: () => void (DeviceSplit.prototype.trainingValues = trainingValues) };
}

forEachBackend("skip: a run goes on after a bad step, counts it, and resumes", async () => {
  await inFolder(async (folder) => {
    using _ = poison([1, 4]);
    const { events, folder: run } = await train(`${folder}/a`, tinyRun, { onNan: "skip" });
    assertEquals(events.map(({ skippedSteps }) => skippedSteps), [0, 1, 1, 1, 2, 2]);
    assert(events.every(({ loss, accuracy }) => Number.isFinite(loss) && accuracy <= 1));
    const state = await loadState(run.last);
    assertEquals(state.skippedSteps, 2);
    for (const { data } of state.weights.values()) assert(data.every(Number.isFinite));
    assertEquals((await readHistory(run.history)).map((r) => r.skippedSteps), [1, 2]);

    // Resumed after the first bad step, it is the same run.
    await train(`${folder}/b`, tinyRun, { onNan: "skip", ...stopAt(2) });
    const resumed = await goOn(`${folder}/b`, tinyRun, { onNan: "skip" });
    assertEquals([resumed.state!.sums.skipped, resumed.result.skippedSteps], [20, 2]);
    assertEquals(await Deno.readFile(resumed.folder.last), await Deno.readFile(run.last));
  });
});

forEachBackend("a diverged run names the first tensor, and goes back to find it", async () => {
  await inFolder(async (folder) => {
    for (const readInterval of [0, Infinity]) {
      const first = await train(`${folder}/${readInterval}`, tinyRun, stopAt(2));
      const resume = await loadState(first.folder.last);
      const notices: string[] = [];
      // Large enough to overflow in the product, so that the weights themselves are fine.
      resume.weights.get("norm.gamma")!.data.fill(3e38);
      const { message } = await assertRejects(
        () =>
          train("", tinyRun, {
            ...{ folder: first.folder, start: { resume }, readInterval },
            ...on({ notice: ({ text }) => notices.push(text) }),
          }),
        UserError,
      );
      assert(
        /^The loss became NaN or infinite at step 3 \(first: the output of /.test(message),
        message,
      );
      assertEquals(notices.length, 1);
      assert(notices[0]!.endsWith("looking for the first such tensor from step 2 on."), notices[0]);
    }
  });
});
