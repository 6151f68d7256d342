import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Pace } from "../../lib/report/pace.ts";

Deno.test("the first step of a process is not timed, and one timed step gives no rate", () => {
  const pace = new Pace();
  pace.begin(0, 0);
  pace.step(1, 32, 60_000);
  assertEquals([pace.speed, pace.secondsFor(10)], [null, null]);
  pace.step(2, 32, 60_500);
  assertEquals([pace.speed, pace.secondsFor(10)], [null, 5]);
  pace.step(3, 32, 61_000);
  const { msPerStep, imagesPerSecond } = pace.speed!;
  assertAlmostEquals(msPerStep, 500, 1e-9);
  assertAlmostEquals(imagesPerSecond, 64, 1e-9);
});

Deno.test("one report of several steps counts them all", () => {
  const pace = new Pace();
  pace.begin(100, 0);
  pace.step(101, 8, 1000);
  pace.step(111, 80, 2000);
  assertAlmostEquals(pace.speed!.msPerStep, 100, 1e-9);
  assertAlmostEquals(pace.secondsFor(20)!, 2, 1e-9);
});

Deno.test("what lies between an epoch's end and the next beginning is not timed", () => {
  const pace = new Pace();
  pace.begin(0, 0);
  pace.step(1, 8, 10);
  pace.step(2, 8, 20);
  pace.begin(2, 90_000);
  pace.step(3, 8, 90_010);
  assertAlmostEquals(pace.speed!.msPerStep, 10, 1e-9);
});

Deno.test("a new speed shows within some tens of steps", () => {
  const pace = new Pace();
  pace.begin(0, 0);
  let time = 0;
  for (let step = 1; step <= 100; step++) pace.step(step, 8, time += 10);
  for (let step = 101; step <= 150; step++) pace.step(step, 8, time += 100);
  assertAlmostEquals(pace.speed!.msPerStep, 100, 1);
});
