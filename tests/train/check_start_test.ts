import { assertEquals, assertThrows } from "@std/assert";
import type { TrainingState } from "../../lib/checkpoint/state.ts";
import type { RunConfig } from "../../lib/config/run.ts";
import { createShapes } from "../../lib/data/shapes.ts";
import { UserError } from "../../lib/errors.ts";
import { checkStart, workLeft } from "../../lib/train/check_start.ts";
import { tinyRun } from "./tiny_run.ts";

const dataset = createShapes({ train: 40, test: 10 });
const config: RunConfig = { ...tinyRun, limit: 0, validationSplit: 0.1 };

Deno.test("a start that fits tells how many images are trained on, held out and tested", () => {
  assertEquals(checkStart(config, dataset), { train: 36, validation: 4, test: 10 });
  const one = checkStart({ ...config, limit: 1 }, dataset);
  assertEquals(one, { train: 1, validation: 0, test: 1 });
});

/** What does not fit, and what the refusal must say. */
const refusals: Record<string, [fields: Partial<RunConfig>, text: string]> = {
  "fewer classes than the data": [{ numClasses: 5 }, "numClasses 5 is less than the 100 classes"],
  "other channels than the data": [{ channels: 1 }, "channels 1 is not the 3"],
  "a split that leaves nothing": [{ limit: 1, validationSplit: 0.9999999 }, "none to train on"],
};

for (const [what, [fields, text]] of Object.entries(refusals)) {
  Deno.test(`a start is refused for ${what}`, () => {
    assertThrows(() => checkStart({ ...config, ...fields }, dataset), UserError, text);
  });
}

Deno.test("a start is refused where nothing could be tested in the end", () => {
  const untested = createShapes({ train: 40, test: 0 });
  assertThrows(() => checkStart(config, untested), UserError, "no test images");
});

/** Epochs done, epochs so far in the configuration, epochs asked for, and what is left to do. */
const cases: [done: number, saved: number, asked: number, left: string][] = [
  [0, 2, 2, "train"],
  [1, 2, 2, "train"],
  [2, 2, 3, "train"],
  [2, 2, 2, "test"],
  [2, 2, 1, "nothing"],
  // Asking for what an interrupted run has done must not rewrite what it was to become.
  [2, 5, 2, "nothing"],
];

for (const [done, saved, asked, left] of cases) {
  Deno.test(`of ${done} epochs done of ${saved}, asked for ${asked}: ${left}`, () => {
    const of = (epochs: number) => ({ ...config, epochs });
    const state = { epoch: done, config: of(saved) } as TrainingState;
    assertEquals(workLeft(state, of(saved), of(asked)), left);
  });
}

Deno.test("what is left is a matter of the same run alone", () => {
  const state = { epoch: 2, config } as TrainingState;
  const other = { ...config, batchSize: config.batchSize + 1 };
  assertThrows(() => workLeft(state, config, other), UserError, "batchSize");
  assertEquals(workLeft(undefined, config, config), "train");
});
