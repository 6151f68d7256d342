import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Pace } from "../../lib/report/pace.ts";

Deno.test("the first step is not timed, one timed step gives a time left, two give rates", () => {
  const pace = new Pace();
  pace.begin(0, 1000);
  pace.step(1, 32, 61_000);
  assertEquals([pace.speed, pace.secondsFor(10)], [null, null]);
  pace.step(2, 32, 61_100);
  assertEquals(pace.speed, null);
  assertAlmostEquals(pace.secondsFor(10)!, 1);
  pace.step(3, 32, 61_200);
  assertAlmostEquals(pace.speed!.msPerStep, 100);
  assertAlmostEquals(pace.speed!.imagesPerSecond, 320);
});

Deno.test("a report of many steps weighs as many, and images are counted, not batches", () => {
  const pace = new Pace();
  pace.begin(0, 0);
  pace.step(1, 10, 5);
  // A step in full, then nine of which the last is small.
  pace.step(2, 10, 105);
  pace.step(11, 81, 1005);
  assertAlmostEquals(pace.speed!.msPerStep, 100);
  assertAlmostEquals(pace.speed!.imagesPerSecond, 90, 3);
});

Deno.test("what lies between two epochs is nobody's time", () => {
  const pace = new Pace();
  pace.begin(0, 0);
  for (let step = 1; step <= 4; step++) pace.step(step, 8, step * 10);
  pace.begin(4, 90_000);
  pace.step(5, 8, 90_010);
  assertAlmostEquals(pace.speed!.msPerStep, 10);
});

Deno.test("newer steps count more", () => {
  const pace = new Pace();
  pace.begin(0, 0);
  let time = 0;
  for (let step = 1; step <= 50; step++) pace.step(step, 1, time += 10);
  for (let step = 51; step <= 100; step++) pace.step(step, 1, time += 20);
  assertAlmostEquals(pace.speed!.msPerStep, 20, 0.1);
});
