import { assert, assertEquals } from "@std/assert";
import {
  type Schedule,
  scheduleFactor,
  type ScheduleName,
  schedules,
} from "../../lib/optim/schedules.ts";

Deno.test("constant leaves the learning rate as it is, to the last bit", () => {
  const config = { schedule: "constant" as const, epochs: 3 };
  for (const step of [0, 1, 17, 29]) assertEquals(scheduleFactor(config, step, 10), 1);
});

Deno.test("every schedule is a factor at every step of a run of one step and of many", () => {
  for (const [name, schedule] of Object.entries(schedules) as [ScheduleName, Schedule][]) {
    for (const stepsPerEpoch of [1, 10]) {
      const context = { totalSteps: 3 * stepsPerEpoch, stepsPerEpoch };
      for (let step = 0; step < context.totalSteps; step++) {
        const factor = schedule(step, context);
        assert(Number.isFinite(factor) && factor >= 0, `${name}: ${factor} at ${step}`);
        assertEquals(scheduleFactor({ schedule: name, epochs: 3 }, step, stepsPerEpoch), factor);
      }
    }
  }
});
