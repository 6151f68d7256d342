import { assertEquals } from "@std/assert";
import { runFolder } from "../../lib/checkpoint/run_folder.ts";
import { type StepLine, StepLog, stepLogPath } from "../../lib/checkpoint/step_log.ts";
import { inFolder } from "../data/fixtures.ts";

const line = (step: number): StepLine => ({
  ...{ step, at: step / 10, stepsPerEpoch: 10, loss: 1, accuracy: 0, top5: 0 },
  ...{ learningRate: 1e-3, imagesPerSecond: null, secondsLeft: null, time: 0 },
});

async function stepsIn(folder: string): Promise<number[]> {
  const text = await Deno.readTextFile(stepLogPath(runFolder(folder)));
  return text.trimEnd().split("\n").map((line) => JSON.parse(line).step);
}

Deno.test("a line is due each second, and in an old run each thousandth of its time", () =>
  inFolder(async (folder) => {
    let time = 0;
    const log = new StepLog(runFolder(folder), 0, () => time);
    assertEquals(log.isDue, true);
    log.write(line(1));
    time = 999;
    assertEquals(log.isDue, false);
    time = 1000;
    assertEquals(log.isDue, true);
    time = 10_000_000;
    log.write(line(2));
    time += 9_000;
    assertEquals(log.isDue, false);
    time += 2_000;
    assertEquals(log.isDue, true);
    await log.settled();
    assertEquals(await stepsIn(folder), [1, 2]);
  }));

Deno.test("a run that goes on drops the lines of steps that it does again, and half a line", () =>
  inFolder(async (folder) => {
    const before = new StepLog(runFolder(folder), 0, () => 0);
    for (const step of [1, 2, 3, 4]) before.write(line(step));
    await before.settled();
    await Deno.writeTextFile(stepLogPath(runFolder(folder)), '{"step":5,"lo', { append: true });
    const log = new StepLog(runFolder(folder), 2, () => 0);
    log.write(line(3));
    await log.settled();
    assertEquals(await stepsIn(folder), [1, 2, 3]);
  }));

Deno.test("what cannot be written is no error, and no more is tried", () =>
  inFolder(async (folder) => {
    const log = new StepLog(runFolder(`${folder}/missing`), 0, () => 0);
    log.write(line(1));
    await log.settled();
    assertEquals(log.isDue, false);
  }));
