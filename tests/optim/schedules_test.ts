import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { readSafetensorsFile } from "../../lib/checkpoint/safetensors.ts";
import {
  type Scheduled,
  scheduleFactor,
  type ScheduleName,
  schedules,
} from "../../lib/optim/schedules.ts";

const names = Object.keys(schedules) as ScheduleName[];
const plain = { epochs: 3, learningRate: 1e-3, warmupEpochs: 0, learningRateFloor: 0 };

Deno.test("constant leaves the learning rate as it is, to the last bit", () => {
  const config = { ...plain, schedule: "constant" as const };
  for (const step of [0, 1, 17, 29]) assertEquals(scheduleFactor(config, step, 10), 1);
  for (const step of [10, 29]) {
    assertEquals(scheduleFactor({ ...config, warmupEpochs: 1 }, step, 10), 1);
  }
});

for (
  const [reference, fields] of [
    ["cosine", { schedule: "cosine", epochs: 40 }],
    ["cosine_warmup", {
      schedule: "cosine",
      epochs: 40,
      warmupEpochs: 8,
      learningRateFloor: 1e-5,
    }],
    ["linear_warmup", { schedule: "linear", epochs: 30, warmupEpochs: 5 }],
  ] as [string, Partial<Scheduled>][]
) {
  Deno.test(`every rate of the reference values ${reference}`, async () => {
    const path = new URL("../golden/recipe/recipe.safetensors", import.meta.url).pathname;
    const { data } = (await readSafetensorsFile(path)).tensors.get(reference)!;
    const config = { ...plain, schedule: "constant" as const, ...fields };
    assertEquals(data.length, config.epochs);
    // The same curve whether an epoch is one step or all steps are one epoch.
    const whole = { ...config, epochs: 1, warmupEpochs: config.warmupEpochs / config.epochs };
    for (const [step, expected] of (data as Float32Array).entries()) {
      assertAlmostEquals(1e-3 * scheduleFactor(config, step, 1), expected, 1e-9);
      assertAlmostEquals(1e-3 * scheduleFactor(whole, step, config.epochs), expected, 1e-9);
    }
  });
}

Deno.test("a curve rises to its peak, never again, and stays at its floor or above", () => {
  for (const schedule of names) {
    for (const warmupEpochs of [0, 0.5, 1, 3]) {
      const floor = schedules[schedule].followsEpochs ? 1e-4 : 0;
      const config = { ...plain, schedule, warmupEpochs, learningRateFloor: floor };
      for (const stepsPerEpoch of [1, 10]) {
        const factors = Array.from({ length: 3 * stepsPerEpoch }, (_, step) => {
          return scheduleFactor(config, step, stepsPerEpoch);
        });
        const warmup = Math.round(warmupEpochs * stepsPerEpoch);
        assertEquals(Math.max(...factors), 1, schedule);
        factors.forEach((factor, step) => {
          const before = factors[step - 1] ?? 0;
          assert(
            step < warmup ? factor > before : step === 0 || factor <= before || step === warmup,
          );
          assert(factor > 0 && factor >= (step < warmup ? 0 : floor / 1e-3));
        });
      }
    }
  }
});
