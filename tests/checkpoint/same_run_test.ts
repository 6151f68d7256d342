import { assertEquals, assertThrows } from "@std/assert";
import { checkConfig, checkDataset } from "../../lib/checkpoint/same_run.ts";
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

Deno.test("only epochs may change, and each other field has its reason", () => {
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
    if (key === "epochs") checkConfig(state, config);
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
