import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { tf } from "../../lib/tfjs.ts";
import { tensorsOf } from "../../lib/capture/repeated.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { evaluate, evaluateEach } from "../../lib/train/evaluate.ts";
import { forEachBackend } from "../backends.ts";
import { tinyModel } from "../models/tiny_model.ts";
import { preprocessingOf, shapes } from "./tiny_run.ts";

forEachBackend("its means are those of its images, whatever the batch", async () => {
  const model = createViTClassifier(tinyModel, { seed: 3 });
  const preprocessing = preprocessingOf(shapes.train);
  const unlabelled = new DeviceSplit(shapes.test, preprocessing);
  const rows = tf.tidy(() => {
    const indices = Int32Array.from({ length: 20 }, (_, i) => i);
    const { images } = unlabelled.batch(tensorsOf(unlabelled.evaluationValues(indices)), 8);
    return model.predict(images) as tf.Tensor2D;
  });
  const logits = await rows.array();
  tf.dispose(rows);
  unlabelled.dispose();
  // Labels that the model ranks 0, 1, ... 7, so that there are hits of both kinds and misses.
  const labels = Uint8Array.from(logits, (row, i) => {
    const order = [...row.keys()].sort((a, b) => row[b]! - row[a]!);
    return order[i % 8]!;
  });
  const split = new DeviceSplit({ ...shapes.test, labels }, preprocessing);
  const told: number[][] = [];
  const onBatch = (done: number, count: number) => void told.push([done, count]);
  const each = await evaluateEach(model, split, { batchSize: 8, onBatch });
  assertEquals(told, [[8, 20], [16, 20], [20, 20]]);
  assertEquals(each.length, 60);

  const column = (k: number) => [...each].filter((_, i) => i % 3 === k);
  const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / 20;
  const [loss, accuracy, top5] = [0, 1, 2].map((k) => mean(column(k)));
  assertEquals(await evaluate(model, split, { batchSize: 20 }), {
    ...{ loss: loss!, accuracy: accuracy!, top5: top5! },
  });

  // The same from the logits, image by image.
  assertEquals(column(1), logits.map((_, i) => Number(i % 8 === 0)));
  assertEquals(column(2), logits.map((_, i) => Number(i % 8 < 5)));
  logits.forEach((row, i) => {
    const total = row.reduce((sum, x) => sum + Math.exp(x), 0);
    const loss = Math.log(total) - row[labels[i]!]!;
    assertAlmostEquals(column(0)[i]!, loss, 1e-4);
  });
  split.dispose();
  model.dispose();
});

forEachBackend("an aborted signal ends it before the next batch", async () => {
  const model = createViTClassifier(tinyModel);
  const split = new DeviceSplit(shapes.test, preprocessingOf(shapes.train));
  const stop = new AbortController();
  let batches = 0;
  const onBatch = () => {
    batches++;
    stop.abort(new Error("enough"));
  };
  const options = { batchSize: 8, onBatch, signal: stop.signal };
  await assertRejects(() => evaluate(model, split, options), Error, "enough");
  assertEquals(batches, 1);
  split.dispose();
  model.dispose();
}, { backends: ["cpu"] });
