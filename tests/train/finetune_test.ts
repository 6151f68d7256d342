/** Fine-tuning: what is frozen stays and costs nothing, and the rest has the gradients that it had. */
import { assert, assertAlmostEquals, assertEquals, assertLess } from "@std/assert";
import { tensorsOf } from "../../lib/capture/repeated.ts";
import { loadState, loadWeights } from "../../lib/checkpoint/state.ts";
import { modelConfigOf, parseRunConfig, type RunConfig } from "../../lib/config/run.ts";
import { openImageFolder } from "../../lib/data/open_images.ts";
import { createShapes } from "../../lib/data/shapes.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { trainedVariables } from "../../lib/models/trained.ts";
import { randomNormal, streamKey } from "../../lib/random.ts";
import { tf } from "../../lib/tfjs.ts";
import { type Batch, DeviceSplit } from "../../lib/train/batches.ts";
import { DeviceDataset } from "../../lib/train/device_dataset.ts";
import { fieldsOf, loadInitialWeights } from "../../lib/train/initial_weights.ts";
import { evaluationStep, gradientsOf } from "../../lib/train/step.ts";
import { splitModel } from "../../lib/models/trained.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { classesOf, writeTree } from "../data/picture_files.ts";
import { goldenFolder, type GoldenName } from "../foreign/golden.ts";
import { randomTensor, valuesOf } from "../models/tiny_model.ts";
import { goOn, on, shapes, stopAt, tinyRun, train } from "./tiny_run.ts";
import { preprocessingOf } from "./tiny_run.ts";

const indices = Int32Array.from({ length: 6 }, (_, i) => i);

/** Gradient of the mean loss along a random direction, by the tape and by a central difference. */
async function alongDirection(
  name: GoldenName,
  fields: Partial<RunConfig>,
): Promise<[number, number]> {
  const initial = await loadInitialWeights(goldenFolder(name));
  const config = parseRunConfig({ ...tinyRun, ...fieldsOf(initial), ...fields, numClasses: 10 });
  const model = createViTClassifier(initial.model, { given: initial.weights, adapters: config });
  const data = createShapes({ train: 60, test: 20 });
  const split = new DeviceSplit(data.train, preprocessingOf(data.train));
  const batch = tf.tidy(() =>
    split.batch(tensorsOf(split.evaluationValues(indices)), 32) as Batch & tf.TensorContainer
  );
  const labels = tf.tidy(() =>
    batch.labels.first.mod(tf.scalar(10, "int32")).toInt() as tf.Tensor1D
  );
  const given = { images: batch.images, labels: { first: labels } };
  const variables = trainedVariables(namedVariables(model), config);
  for (const [name, variable] of variables) {
    // A has no gradient while B is zeros.
    if (!name.endsWith(".lora_b")) continue;
    tf.tidy(() => variable.assign(randomTensor(variable.shape).mul(0.1)));
  }
  const stepKey = tf.tensor1d([1, 0], "int32");
  const { stats, gradients } = gradientsOf(
    model,
    [...variables.values()],
    given,
    stepKey,
    { split: splitModel(model, config) },
  );
  const before = new Map<tf.Variable, Float32Array>();
  const directions = new Map<tf.Variable, Float32Array>();
  let byTape = 0;
  for (const [i, variable] of [...variables.values()].entries()) {
    const key = streamKey(3, 5, i);
    const direction = Float32Array.from({ length: variable.size }, (_, k) => randomNormal(key, k));
    before.set(variable, await valuesOf(variable));
    directions.set(variable, direction);
    const gradient = await valuesOf(gradients[variable.name]!);
    gradient.forEach((value, k) => byTape += value * direction[k]!);
  }
  const lossAt = async (length: number) => {
    for (const [variable, direction] of directions) {
      const values = before.get(variable)!.map((value, k) => value + length * direction[k]!);
      tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
    }
    const found = evaluationStep(model, given);
    const values = await valuesOf(found);
    found.dispose();
    let sum = 0;
    for (let i = 0; i < values.length; i += 3) sum += values[i]!;
    return sum / indices.length;
  };
  const step = 1e-3;
  const central = async (h: number) => (await lossAt(h) - await lossAt(-h)) / (2 * h);
  // Of fourth order, for the loss bends on the way.
  const difference = (4 * await central(step) - await central(2 * step)) / 3;
  tf.dispose([stats, gradients, batch.images, batch.labels.first, labels, stepKey]);
  split.dispose();
  model.dispose();
  return [byTape, difference];
}

const trainings: Record<string, Partial<RunConfig>> = {
  "freeze none": {},
  "freeze 1": { freeze: "1" },
  "freeze backbone": { freeze: "backbone" },
  "lora 3": { lora: 3, loraAlpha: 6 },
};

for (const [training, fields] of Object.entries(trainings)) {
  for (const name of ["hf", "deit-distilled"] as const) {
    forEachBackend(
      `${name}, ${training}: the step's gradients are those of central differences`,
      async () => {
        const [byTape, difference] = await alongDirection(name, fields);
        const error = Math.abs(byTape - difference) / Math.abs(difference);
        assertLess(error, 2e-3, `${byTape} by the tape, ${difference} by differences`);
      },
    );
  }
}

/** A model of its own for 8x8 images, with two blocks. */
const base: RunConfig = { ...tinyRun, transformerLayers: 2, epochs: 2, mlpDropout: 0.1 };

for (const freeze of ["backbone", "1"]) {
  forEachBackend(
    `freeze ${freeze}: a run keeps those weights to the bit, has no moments of them, and goes on exactly`,
    async () => {
      await inFolder(async (folder) => {
        const config = { ...base, freeze, ema: 0.5 };
        const whole = await train(`${folder}/whole`, config);
        const state = await loadState(whole.folder.last);
        const fresh = createViTClassifier(modelConfigOf(config), { seed: config.seed });
        const variables = namedVariables(fresh);
        const trained = trainedVariables(variables, config);
        for (const [name, variable] of variables) {
          const isSame = (await valuesOf(variable))
            .every((value, i) => value === state.weights.get(name)!.data[i]);
          // Biases of keys have no gradient but rounding, and what is decayed moves anyway.
          if (!trained.has(name)) assert(isSame, `${name} has changed`);
          else if (/kernel$/.test(name)) assert(!isSame, `${name} has not changed`);
        }
        fresh.dispose();
        assertEquals(new Set(state.moments1.keys()), new Set(trained.keys()));
        const averages = await loadWeights(whole.folder.last, "averages");
        assertEquals(averages.weights.size, variables.size);

        await train(`${folder}/cut`, config, stopAt(4));
        const { folder: cut } = await goOn(`${folder}/cut`);
        const resumed = await loadState(cut.last);
        assertEquals([...resumed.weights], [...state.weights]);
        assertEquals([...resumed.moments2], [...state.moments2]);
      });
    },
    { backends: ["webgpu", "wasm"] },
  );
}

forEachBackend(
  "a run begins from a foreign model: a new head, other positions, its own preparation",
  async () => {
    await inFolder(async (folder) => {
      const initial = await loadInitialWeights(goldenFolder("timm"));
      const config: RunConfig = {
        ...{ ...tinyRun, ...fieldsOf(initial), imageSize: 24, numClasses: 100, epochs: 1 },
      };
      const notices: string[] = [];
      const { folder: run, result } = await train(`${folder}/run`, config, {
        start: { initial },
        ...on({ notice: ({ text }) => notices.push(text) }),
      });
      assert(result.complete);
      assertEquals(notices.length, 1);
      assert(notices[0]!.includes("random weights"), notices[0]);
      const { weights, preprocessing } = await loadWeights(run.last);
      assertEquals(weights.get("patch_encoder.position_embedding")!.shape, [10, 48]);
      assertEquals(preprocessing.mean, [127.5, 127.5, 127.5]);
      assertEquals(preprocessing.variance, [127.5 ** 2, 127.5 ** 2, 127.5 ** 2]);
    });
  },
  { backends: ["wasm"] },
);

forEachBackend(
  "freezing saves time: a step of a frozen backbone computes no backward pass of it",
  async () => {
    // By what is on the tape, since times vary.
    const model = createViTClassifier(modelConfigOf(base), { seed: 1 });
    const split = new DeviceSplit(shapes.train, preprocessingOf(shapes.train));
    const batch = tf.tidy(() =>
      split.batch(tensorsOf(split.evaluationValues(indices)), 8) as Batch & tf.TensorContainer
    );
    const stepKey = tf.tensor1d([1, 0], "int32");
    const kernelsOf = async (freeze: string) => {
      const config = { ...base, freeze };
      const { kernelNames } = await tf.profile(() => {
        const variables = [...trainedVariables(namedVariables(model), config).values()];
        return tf.tidy(() => {
          const split = splitModel(model, config);
          return gradientsOf(model, variables, batch, stepKey, { split }).stats;
        });
      });
      return kernelNames;
    };
    const backward = (names: string[]) => names.filter((name) => name.includes("Grad"));
    assert(backward(await kernelsOf("none")).includes("VitAttentionGrad"));
    assert(!backward(await kernelsOf("backbone")).includes("VitAttentionGrad"));
    tf.dispose([batch.images, batch.labels.first, stepKey]);
    split.dispose();
    model.dispose();
  },
  { backends: ["cpu"], allowTensorLeak: true },
);

forEachBackend(
  "pictures are stored in the form that weights want, and the run keeps it for predictions",
  async () => {
    await inFolder(async (folder) => {
      await writeTree(`${folder}/photos`, classesOf(["cat", "dog"], 4));
      const { model, foreign } = await loadInitialWeights(goldenFolder("deit-distilled"));
      const { imageSize } = model;
      const dataset = await openImageFolder(`${folder}/photos`, {
        ...{ ...foreign!.preparation, imageSize, preparedRoot: `${folder}/prepared` },
      });
      // No more than the model's input, since the crop is that of the weights.
      assertEquals([dataset.height, dataset.width], [32, 32]);
      const config = { limit: 0, validationSplit: 0.1, ...foreign!.preparation };
      using data = new DeviceDataset(dataset, config);
      const { fit, resample, cropShare, mean } = data.preprocessing;
      assertEquals([fit, resample, cropShare], ["crop", "bicubic", 0.9]);
      mean.forEach((value, c) => assertAlmostEquals(value, [0.485, 0.456, 0.406][c]! * 255, 1e-9));
    });
  },
  { backends: ["cpu"] },
);
