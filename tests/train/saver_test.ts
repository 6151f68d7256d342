import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Saver } from "../../lib/train/saver.ts";

/** A save that ends when it is told to. */
function manual(): { save: () => Promise<void>; end: (error?: Error) => void } {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  return { save: () => promise, end: (error) => error ? reject(error) : resolve() };
}

Deno.test("by steps: due so many after the last save, never while one is in flight", async () => {
  const saver = new Saver({ steps: 3 }, 10, () => 0);
  assertEquals([10, 11, 12, 13, 14].map((step) => saver.isDue(step)), [
    ...[false, false, false, true, true],
  ]);
  const { save, end } = manual();
  await saver.start(14, save);
  assertEquals([16, 17, 99].map((step) => saver.isDue(step)), [false, false, false]);
  end();
  await saver.settled();
  assertEquals([16, 17].map((step) => saver.isDue(step)), [false, true]);
});

Deno.test("by minutes of the clock that is given, and never without an interval", async () => {
  let time = 5_000;
  const saver = new Saver({ minutes: 2 }, 0, () => time);
  const dueAt = (ms: number) => {
    time = 5_000 + ms;
    return saver.isDue(1);
  };
  // A clock that goes back brings no save, and no error.
  assertEquals([0, 119_999, 120_000, -99_999_999].map(dueAt), [false, false, true, false]);
  time = 130_000;
  await saver.start(1, () => Promise.resolve());
  await saver.settled();
  assertEquals([244_999, 245_000].map(dueAt), [false, true]);
  const never = new Saver(null, 0, () => time);
  assertEquals(never.isDue(1e9), false);
});

Deno.test("saves go one after the other", async () => {
  const saver = new Saver(null, 0, () => 0);
  const log: string[] = [];
  const [first, second] = [manual(), manual()];
  await saver.start(1, () => (log.push("first"), first.save()));
  const waiting = saver.start(2, () => (log.push("second"), second.save()));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(log, ["first"]);
  first.end();
  await waiting;
  assertEquals(log, ["first", "second"]);
  second.end();
  await saver.settled();
});

Deno.test("what a save fails with is thrown once, at the next question", async () => {
  const saver = new Saver({ steps: 1 }, 0, () => 0);
  const { save, end } = manual();
  await saver.start(1, save);
  end(new Error("the disk is full"));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertThrows(() => saver.isDue(1), Error, "the disk is full");
  await saver.settled();
  await saver.start(2, () => Promise.reject(new Error("again")));
  await assertRejects(() => saver.settled(), Error, "again");
});

Deno.test("rest waits for the save, but for no more than a twentieth of the step", async () => {
  let time = 0;
  const saver = new Saver(null, 0, () => time);
  const rest = async (stepMs: number) => {
    time += stepMs;
    const start = performance.now();
    await saver.rest();
    return performance.now() - start;
  };
  assert(await rest(10_000) < 100, "it waited for nothing");
  const { save, end } = manual();
  await saver.start(1, save);
  const waited = await rest(2_000);
  assert(waited > 90 && waited < 1_000, `${waited} ms`);
  // A clock that goes back, and short steps: no wait.
  assert(await rest(-5_000) < 50);
  assert(await rest(10) < 50);
  setTimeout(end, 20);
  assert(await rest(100_000) < 1_000, "it waited on after the end of the save");
  await saver.settled();
});
