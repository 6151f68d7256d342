import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import { tf } from "../../lib/tfjs.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { evaluationStep, trainStep } from "../../lib/train/step.ts";
import { forEachBackend } from "../backends.ts";
import { tinyModel, valuesOf } from "../models/tiny_model.ts";
import { preprocessingOf, shapes } from "./tiny_run.ts";

const records = Int32Array.from({ length: 20 }, (_, i) => i);

forEachBackend("ten steps on one batch lower its loss, without a tensor more", async () => {
  const model = createViTClassifier(
    { ...tinyModel, attentionDropout: 0, mlpDropout: 0, headDropout: 0 },
    { seed: 1 },
  );
  const optimizer = new AdamW({ learningRate: 1e-2 });
  const variables = [...namedVariables(model).values()];
  const split = new DeviceSplit(shapes.train, preprocessingOf(shapes.train));
  const batch = split.evaluationBatch(records, 8);
  const stepKey = tf.tensor1d([1, 0], "int32");
  const losses: number[] = [];
  const counts: number[] = [];
  const evaluated = evaluationStep(model, batch);
  for (let i = 0; i < 10; i++) {
    const stats = trainStep(model, variables, optimizer, batch, stepKey);
    assertEquals(stats.shape, [20, 3]);
    const values = await valuesOf(stats);
    if (i === 0) {
      // Without dropout the forward pass is that of evaluation, before the update.
      (await valuesOf(evaluated)).forEach((x, at) => assertAlmostEquals(values[at]!, x, 1e-5));
    }
    losses.push(values.reduce((sum, x, at) => at % 3 === 0 ? sum + x / 20 : sum, 0));
    stats.dispose();
    counts.push(tf.memory().numTensors);
  }
  assertAlmostEquals(losses[0]!, Math.log(100), 1);
  assert(losses[9]! < losses[0]! - 0.5, `the losses were ${losses}`);
  assertEquals(counts.slice(1), Array(9).fill(counts[0]));
  tf.dispose([batch.images, batch.labels, stepKey, evaluated]);
  split.dispose();
  optimizer.dispose();
  model.dispose();
});

forEachBackend("the step key decides the dropout of a step", async () => {
  const model = createViTClassifier(tinyModel, { seed: 1 });
  const variables = [...namedVariables(model).values()];
  const split = new DeviceSplit(shapes.train, preprocessingOf(shapes.train));
  const batch = split.evaluationBatch(records, 8);
  const statsAt = async (step: number) => {
    // An update of nothing, so that only the key differs.
    const optimizer = new AdamW({ learningRate: 0, weightDecay: 0 });
    const stepKey = tf.tensor1d([1, step], "int32");
    const stats = trainStep(model, variables, optimizer, batch, stepKey);
    const values = await valuesOf(stats);
    tf.dispose([stats, stepKey]);
    optimizer.dispose();
    return values;
  };
  const first = await statsAt(3);
  assertEquals(await statsAt(3), first);
  assert((await statsAt(4)).some((x, i) => i % 3 === 0 && x !== first[i]));
  tf.dispose([batch.images, batch.labels]);
  split.dispose();
  model.dispose();
});
