import { assertEquals, assertNotEquals } from "@std/assert";
import { splitValidation } from "../../lib/data/dataset.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import { tf } from "../../lib/tfjs.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { startOfRun } from "../../lib/checkpoint/progress.ts";
import { fit } from "../../lib/train/fit.ts";
import { forEachBackend } from "../backends.ts";
import { tinyModel, valuesOf } from "../models/tiny_model.ts";
import { preprocessingOf, shapes, tinyRun } from "./tiny_run.ts";

forEachBackend("every step has its own images and its own dropout key", async () => {
  const model = createViTClassifier(tinyModel, { seed: 1 });
  const keys: number[][] = [];
  const firsts: number[] = [];
  const apply = model.apply.bind(model);
  model.apply = (inputs, kwargs) => {
    const { stepKey } = kwargs as { stepKey: tf.Tensor1D };
    keys.push([...stepKey.dataSync()]);
    firsts.push((inputs as tf.Tensor).dataSync()[0]!);
    return apply(inputs, kwargs);
  };
  const train = new DeviceSplit(
    splitValidation(shapes.train, 1 / 3).train,
    preprocessingOf(shapes.train),
  );
  const optimizer = new AdamW();
  const progress = startOfRun();
  const data = { train, validation: null };
  const { complete, history } = await fit({ config: tinyRun, model, optimizer, data, progress });
  assertEquals([complete, history.length], [true, 2]);
  assertEquals([progress.step, progress.sums.images], [6, 0]);
  assertEquals(keys, [0, 1, 2, 3, 4, 5].map((step) => [tinyRun.seed, step]));
  assertEquals(new Set(firsts).size, 6);
  train.dispose();
  optimizer.dispose();
  model.dispose();
}, { backends: ["cpu"] });

forEachBackend("only the given variables are trained", async () => {
  const model = createViTClassifier(tinyModel, { seed: 1 });
  const named = namedVariables(model);
  const [head, body] = ["classifier.kernel", "norm.gamma"].map((name) => named.get(name)!);
  const before = [await valuesOf(head!), await valuesOf(body!)];
  const train = new DeviceSplit(shapes.train, preprocessingOf(shapes.train));
  await fit({
    config: { ...tinyRun, epochs: 1 },
    model,
    variables: [head!],
    data: { train, validation: null },
  });
  assertNotEquals(await valuesOf(head!), before[0]);
  assertEquals(await valuesOf(body!), before[1]);
  train.dispose();
  model.dispose();
}, { backends: ["cpu"] });
