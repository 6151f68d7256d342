import { assertEquals, assertThrows } from "@std/assert";
import { checkConfig, checkDataset, checkSchedule } from "../../lib/checkpoint/same_run.ts";
import { preset, type RunConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";

Deno.test("a checkpoint of another configuration names the field and both values", () => {
  const state = { config: preset("tiny") };
  checkConfig(state, preset("tiny"));
  checkConfig(state, { ...preset("tiny"), epochs: 50 });
  const error = assertThrows(
    () => checkConfig(state, { ...preset("tiny"), batchSize: 64 }),
    UserError,
  );
  assertEquals(
    error.message,
    "The checkpoint is of another configuration: its batchSize is 128, this run's is 64, and " +
      "the steps done were taken with the old one; leave batchSize at 128 or start a new run " +
      "(--init-from takes weights along).",
  );
  assertThrows(
    () => checkConfig(state, { ...preset("tiny"), transformerUnits: [256, 64] }),
    UserError,
    "[128,64]",
  );
  assertThrows(() => checkConfig(state, { ...preset("tiny"), epochs: 6 }, []), UserError, "epochs");
});

Deno.test("only epochs and patience may change, and each other field has its reason", () => {
  const state = { config: preset("tiny") };
  const reasons: Partial<Record<keyof RunConfig, string>> = {
    seed: "another order of images",
    dataset: "which images",
    limit: "which images",
    projectionDim: "a model of that shape",
    numClasses: "a model of that shape",
    mlpDropout: "the steps done",
    learningRate: "the steps done",
    clipNorm: "the steps done",
  };
  for (const key of Object.keys(state.config) as (keyof RunConfig)[]) {
    const config = { ...state.config, [key]: "other" };
    if (key === "epochs" || key === "patience") checkConfig(state, config);
    else assertThrows(() => checkConfig(state, config), UserError, reasons[key] ?? `its ${key} is`);
  }
});

Deno.test("a checkpoint of other data names both", () => {
  const dataset = { name: "cifar100 (fine)", identity: "ab".repeat(32), trainCount: 50_000 };
  checkDataset({ dataset }, { ...dataset });
  for (const change of [{ name: "shapes" }, { identity: "cd".repeat(32) }, { trainCount: 7 }]) {
    assertThrows(() => checkDataset({ dataset }, { ...dataset, ...change }), UserError, "50000");
  }
});

Deno.test("other epochs under a schedule that ends with the run are refused, with both rates", () => {
  const dataset = { name: "shapes", identity: "ab", trainCount: 1000 };
  const config = { ...preset("tiny"), schedule: "cosine" as const, warmupEpochs: 1, epochs: 9 };
  const state = { config, dataset, step: 40 };
  checkSchedule(state, config);
  checkSchedule({ ...state, step: 0 }, { ...config, epochs: 17 });
  const constant = { ...config, schedule: "constant" as const };
  checkSchedule({ ...state, config: constant }, { ...constant, epochs: 17 });
  const error = assertThrows(() => checkSchedule(state, { ...config, epochs: 17 }), UserError);
  // 900 images in batches of 128: 8 steps an epoch, so step 40 is half of one curve, a quarter of the other.
  assertEquals(
    error.message,
    "With schedule cosine the learning rate depends on epochs: the steps done followed the curve " +
      "of 9, and on that of 17 the rate would jump from 5.00e-4 to 8.54e-4; leave epochs at 9, or " +
      "ask for the other curve with --reschedule.",
  );
  // A run that has ended stands at its last rate.
  assertThrows(() => checkSchedule({ ...state, step: 72 }, { ...config, epochs: 10 }), UserError);
});
