import { assertEquals, assertThrows } from "@std/assert";
import type { TrainingState } from "../../lib/checkpoint/training_state.ts";
import { UserError } from "../../lib/errors.ts";
import { checkStart, type WorkLeft, workLeft } from "../../lib/train/check_start.ts";
import { shapes, tinyRun } from "./tiny_run.ts";

Deno.test("a start that fits counts its images", () => {
  assertEquals(checkStart(tinyRun, shapes), { train: 50, validation: 25, test: 20 });
  const few = { ...tinyRun, limit: 2 };
  assertEquals(checkStart(few, shapes), { train: 2, validation: 0, test: 2 });
});

/** What does not fit, and what the refusal says. */
const refusals: Record<string, [start: () => unknown, text: string]> = {
  "too few classes": [
    () => checkStart({ ...tinyRun, numClasses: 5 }, shapes),
    "numClasses 5 is less than the 100 classes of shapes; set --num-classes 100",
  ],
  "other channels": [() => checkStart({ ...tinyRun, channels: 1 }, shapes), "channels 1 is not"],
  "nothing to train on": [
    () =>
      checkStart({ ...tinyRun, limit: 1, validationSplit: 0.999 }, {
        ...shapes,
        train: { images: new Uint8Array(), labels: new Uint8Array(), count: 0 },
      }),
    "leaves none to train on",
  ],
  "nothing to test on": [
    () =>
      checkStart(tinyRun, {
        ...shapes,
        test: { images: new Uint8Array(), labels: new Uint8Array(), count: 0 },
      }),
    "shapes has no test images",
  ],
};

for (const [what, [start, text]] of Object.entries(refusals)) {
  Deno.test(`a start with ${what} is refused`, () => {
    assertThrows(start, UserError, text);
  });
}

Deno.test("what is left of a run: training, its test alone, or nothing", () => {
  const saved = { ...tinyRun, epochs: 3 };
  const state = (epoch: number) => ({ epoch, config: saved }) as unknown as TrainingState;
  const cases: [done: number, asked: number, left: WorkLeft][] = [
    [0, 3, "train"],
    [2, 3, "train"],
    [2, 5, "train"],
    [3, 4, "train"],
    [3, 3, "test"],
    [3, 2, "nothing"],
    // Interrupted, and no more is wanted than it has.
    [2, 2, "nothing"],
    [2, 1, "nothing"],
  ];
  for (const [done, epochs, left] of cases) {
    assertEquals(workLeft(state(done), saved, { ...saved, epochs }), left, `${done} ${epochs}`);
  }
  assertEquals(workLeft(undefined, saved, saved), "train");
  assertThrows(() => workLeft(state(3), saved, { ...saved, seed: 8 }), UserError, "seed");
});
