/**
 * A ViT-B/16 of another library, measured: 86 million random weights.
 *
 *     deno run -A bench/vit_base.ts --layout timm --steps 3
 *
 * Each of these is a process of its own: loading (time from its start, and its peak of memory beside
 * the file's bytes), the prediction of an image, and training steps of `--batch` images, all of the model
 * and with a frozen backbone, of which the medians are printed: in seconds of the processors, which other
 * programs on the machine do not lengthen. Takes 350 MB of disk in `--root`.
 */
import process from "node:process";
import { Option } from "@commander-js/extra-typings";
import { selectBackend } from "../lib/backend/select.ts";
import { parseRunConfig, type RunConfig } from "../lib/config/run.ts";
import { preset } from "../lib/config/presets.ts";
import { kerasCifar100 } from "../lib/config/presets/keras_cifar100.ts";
import { modelConfigOf } from "../lib/config/run.ts";
import { createShapes } from "../lib/data/shapes.ts";
import { type LayoutName, layouts } from "../lib/foreign/layouts.ts";
import { saveForeign } from "../lib/foreign/save.ts";
import { architectureOf } from "../lib/models/architecture.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { DeviceDataset } from "../lib/train/device_dataset.ts";
import { fieldsOf, givenWeights, loadInitialWeights } from "../lib/train/initial_weights.ts";
import { predictImages } from "../lib/train/predict.ts";
import { fit } from "../lib/train/fit.ts";
import { memoryText } from "../lib/train/memory_text.ts";
import { stepMemory } from "../lib/train/step_memory.ts";
import { tf } from "../lib/tfjs.ts";
import { newCommand, runTask } from "../tasks/cli.ts";
import { peakBytes } from "../tests/peak_memory.ts";
import { installMeters, Meter, useMeter } from "./instrument.ts";
import { median } from "./statistics.ts";

interface Options {
  layout: LayoutName;
  backend: string;
  steps: number;
  batch: number;
  root: string;
  blocks: number;
  imageSize: number;
  part?: string;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

/** Seconds that the processors have worked for this process, its device's threads included. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Writes the model; uniform numbers of about the deviation that such weights have. */
async function write({ layout, root, blocks, imageSize }: Options): Promise<string> {
  const folder = `${root}/${layout}`;
  const base = {
    ...modelConfigOf(preset("finetune")),
    ...{ projectionDim: 768, numHeads: 12, transformerUnits: [3072, 768], numClasses: 1000 },
    ...{ transformerLayers: blocks, imageSize },
  };
  let state = 1;
  const weights = new Map([...architectureOf(base).weights].map(([name, shape]) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    const middle = name.endsWith("gamma") ? 1 : 0;
    for (let i = 0; i < data.length; i++) {
      state = Math.imul(state, 1664525) + 1013904223 | 0;
      data[i] = middle + state / 2 ** 31 * 0.035;
    }
    return [name, { shape, data }];
  }));
  const [height, width] = [imageSize, imageSize];
  const preprocessing = { height, width, channels: 3, mean: [127, 127, 127] };
  const variance = [127 ** 2, 127 ** 2, 127 ** 2];
  await saveForeign(folder, {
    config: { ...base, layerNormEpsilon: layouts[layout].epsilon },
    weights,
    classNames: [],
    preprocessing: { ...preprocessing, variance },
  }, layout);
  return folder;
}

/** What the device has had. */
const meter = new Meter();

/** Median of the times of single steps but for the first two, which compile and record. */
async function steps(options: Options, freeze: string): Promise<number> {
  const { root, layout, batch, steps } = options;
  const initial = await loadInitialWeights(`${root}/${layout}`);
  const config: RunConfig = parseRunConfig({
    ...kerasCifar100,
    ...fieldsOf(initial),
    ...{ freeze, dataset: "shapes", numClasses: 100, batchSize: batch, epochs: 1 },
    ...{ augment: "none", validationSplit: 0 },
  });
  console.error(
    memoryText(stepMemory(config, { batch, isCaptured: tf.getBackend() === "webgpu" })),
  );
  const given = givenWeights(initial);
  const model = createViTClassifier(modelConfigOf(config), { given });
  using data = new DeviceDataset(createShapes({ train: batch * (steps + 2), test: 1 }), config);
  const times: number[] = [];
  let before = cpuSeconds();
  await fit({
    ...{ config, model, data, readInterval: 0 },
    onEvent: ({ type }) => {
      if (type !== "step") return;
      const now = cpuSeconds();
      times.push(now - before);
      before = now;
    },
  });
  console.error(
    `freeze ${freeze}: ${times.map((seconds) => seconds.toFixed(2))} s` +
      (tf.getBackend() === "webgpu"
        ? `; peak of the device's buffers ${megabytes(meter.peakAliveBytes)}`
        : ""),
  );
  return median(times.slice(2));
}

/** In a function of its own, after which the weights lie on the device alone. */
async function classifierOf(path: string) {
  const { model, weights } = await loadInitialWeights(path);
  return createViTClassifier(model, { given: weights });
}

const parts: Record<string, (options: Options) => Promise<number>> = {
  async load({ root, layout }) {
    const { weights } = await loadInitialWeights(`${root}/${layout}`);
    return weights.size;
  },
  async predict({ root, layout, imageSize }) {
    const classifier = await classifierOf(`${root}/${layout}`);
    const [width, height] = [imageSize, imageSize];
    const image = { width, height, channels: 3, data: new Uint8Array(width * height * 3) };
    const [mean, variance] = [[127, 127, 127], [127 ** 2, 127 ** 2, 127 ** 2]];
    const preprocessing = { height, width, channels: 3, mean, variance };
    const [guesses] = await predictImages(classifier, [image as never], {
      ...{ preprocessing, classNames: [] },
    });
    return guesses![0]!.probability;
  },
  full: (options) => steps(options, "none"),
  frozen: (options) => steps(options, "backbone"),
};

/** Does a part in a process of its own. */
async function child(
  part: string,
  options: Options,
): Promise<Record<"value" | "peak" | "cpu" | "seconds", number>> {
  const began = performance.now();
  const { layout, backend, steps, batch, root, blocks, imageSize } = options;
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-check", import.meta.filename!, "--part", part, "--layout", layout],
      ...["--backend", backend, "--steps", `${steps}`, "--batch", `${batch}`, "--root", root],
      ...["--blocks", `${blocks}`, "--image-size", `${imageSize}`],
    ],
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`${part} failed`);
  const found = JSON.parse(new TextDecoder().decode(stdout));
  return { ...found, seconds: (performance.now() - began) / 1000 };
}

await runTask(async () => {
  const command = newCommand("vit-base", "Measure a ViT-B/16 of another library.")
    .addOption(new Option("--layout <name>").choices(Object.keys(layouts)).default("timm"))
    .option("--backend <name>", "webgpu, wasm or cpu", "webgpu")
    .option("--steps <n>", "training steps that are timed", Number, 3)
    .option("--batch <n>", "images of a step", Number, 2)
    .option("--blocks <n>", "12 are ViT-B", Number, 12)
    .option("--image-size <n>", "224 make 197 tokens, 384 make 577", Number, 224)
    .option("--root <folder>", "where the file is written", "data/vit-base")
    .option("--part <name>", "used by the bench itself");
  command.parse();
  const options = command.opts() as Options;
  if (options.part !== undefined) {
    installMeters();
    useMeter(meter);
    if (options.part !== "load") await selectBackend(options.backend);
    const value = await parts[options.part]!(options);
    console.log(JSON.stringify({ value, peak: peakBytes(), cpu: cpuSeconds() }));
    Deno.exit(0);
  }
  const folder = await write(options);
  const { size } = await Deno.stat(`${folder}/model.safetensors`);
  console.log(`${options.layout}: ${megabytes(size)}`);
  for (const part of ["load", "predict"]) {
    const { seconds, cpu, peak } = await child(part, options);
    console.log(
      `${part}: ${seconds.toFixed(1)} s with the process's start, ${cpu.toFixed(1)} s of the ` +
        `processors, peak ${megabytes(peak)} = ${(peak / size).toFixed(2)} times the file`,
    );
  }
  const [full, frozen] = [await child("full", options), await child("frozen", options)];
  console.log(
    `a step of ${options.batch}: full ${full.value.toFixed(2)} s, peak ${
      megabytes(full.peak)
    }; frozen ` +
      `backbone ${frozen.value.toFixed(2)} s, peak ${megabytes(frozen.peak)}; ` +
      `${(full.value / frozen.value).toFixed(2)} times as fast`,
  );
});
