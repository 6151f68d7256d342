import { assert, assertEquals } from "@std/assert";
import {
  learningRateAt,
  type Schedule,
  type ScheduleName,
  schedules,
} from "../../lib/optim/schedules.ts";

const config = { learningRate: 1e-3, schedule: "constant" as const, epochs: 3 };

Deno.test("constant is the learning rate itself, to the last bit", () => {
  for (const step of [0, 1, 17, 29]) assertEquals(learningRateAt(config, step, 30), 1e-3);
});

Deno.test("every schedule is a rate at every step of a run of one step and of many", () => {
  for (const [name, schedule] of Object.entries(schedules) as [ScheduleName, Schedule][]) {
    for (const totalSteps of [1, 30]) {
      for (let step = 0; step < totalSteps; step++) {
        const factor = schedule(step, { totalSteps, stepsPerEpoch: totalSteps / 3 });
        assert(Number.isFinite(factor) && factor >= 0, `${name}: ${factor} at ${step}`);
        const rate = learningRateAt({ ...config, schedule: name }, step, totalSteps);
        assertEquals(rate, config.learningRate * factor);
      }
    }
  }
});
