/**
 * What fine-tuning gains over random weights, where few pictures are at hand:
 *
 *     deno run --allow-read --allow-write=data,runs --allow-env=XDG_RUNTIME_DIR bench/finetune.ts
 *
 * A small ViT in timm's shape learns 80 classes of CIFAR-100 (`--pretrain-epochs`). It is exported in
 * the layout of Hugging Face, read back as a foreign model, and fine-tuned on 50 images of each of the
 * other 20 classes: all of it, its head alone (`--freeze backbone`), the head alone on features that are
 * computed once (`--cache-features true`, so without augmentation), and beside them the same model from
 * random weights, all for as many epochs. Prints the test accuracy of each on all test images of the 20
 * classes. `--root` keeps the pretrained run, which goes on where it was interrupted.
 */
import { selectBackend } from "../lib/backend/select.ts";
import { loadWeights } from "../lib/checkpoint/state.ts";
import { parseRunConfig, preset, type RunConfig } from "../lib/config/run.ts";
import { modelConfigOf } from "../lib/config/run.ts";
import { type ImageDataset, type ImageSplit, labelsFor } from "../lib/data/dataset.ts";
import { loadDataset } from "../lib/data/load.ts";
import { saveForeign } from "../lib/foreign/save.ts";
import { fieldsOf, loadInitialWeights } from "../lib/train/initial_weights.ts";
import type { RunStart } from "../lib/train/run.ts";
import { newCommand, runTask } from "../tasks/cli.ts";
import { trainOrGoOn } from "./trained.ts";

/** Every fifth class is one of the 20. */
const isFew = (label: number) => label % 5 === 4;

/** A data set of some classes, with at most so many images of each to train and to test on. */
function classesOf(
  whole: ImageDataset,
  keeps: (label: number) => boolean,
  most: number,
  mostTest: number,
): ImageDataset {
  const kept = whole.classNames.map((_, label) => label).filter(keeps);
  const bytes = whole.height * whole.width * whole.channels;
  const part = ({ images, labels, count }: ImageSplit, most: number): ImageSplit => {
    const seen = new Map<number, number>();
    const indices: number[] = [];
    for (let i = 0; i < count; i++) {
      const label = labels[i]!;
      const before = seen.get(label) ?? 0;
      if (!keeps(label) || before === most) continue;
      seen.set(label, before + 1);
      indices.push(i);
    }
    const taken = new Uint8Array(indices.length * bytes);
    indices.forEach((at, i) => taken.set(images.subarray(at * bytes, (at + 1) * bytes), i * bytes));
    return {
      images: taken,
      labels: labelsFor(kept.length, indices.map((at) => kept.indexOf(labels[at]!))),
      count: indices.length,
    };
  };
  return {
    ...whole,
    name: `${whole.name}, ${kept.length} classes`,
    identity: `${whole.identity}/${kept.length}/${most}`,
    classNames: kept.map((label) => whole.classNames[label]!),
    train: part(whole.train, most),
    test: part(whole.test, mostTest),
  };
}

/** A ViT that a processor can train: 0.3 million parameters, 64 patches and the class token. */
const model = {
  ...{ imageSize: 32, patchSize: 4, projectionDim: 64, numHeads: 4, keyDim: 16 },
  ...{ transformerLayers: 6, transformerUnits: [256, 64] },
};

interface Options {
  backend: string;
  data?: string;
  md5?: string;
  root: string;
  pretrainEpochs: number;
  epochs: number;
  limit: number;
  testLimit: number;
  seed: number;
}

await runTask(async () => {
  const command = newCommand("finetune", "Measure what fine-tuning gains over random weights.")
    .option("--backend <name>", "webgpu, wasm or cpu", "auto")
    .option("--data <source>", "folder or archive of CIFAR-100; default: data/")
    .option("--md5 <sum>", "checksum of the archive, or none; default: the official one")
    .option("--root <folder>", "where runs and the exported model lie", "runs/finetune")
    .option("--pretrain-epochs <n>", "epochs on the 80 classes", Number, 20)
    .option("--epochs <n>", "epochs on the 20 classes", Number, 20)
    .option("--limit <n>", "train images of each of the 80 classes", Number, 500)
    .option("--test-limit <n>", "test images of each of the 20 classes", Number, 100)
    .option("--seed <n>", "of both", Number, 1);
  command.parse();
  const { backend, data, md5, root, pretrainEpochs, epochs, limit, testLimit, seed } = command
    .opts() as Options;
  console.log((await selectBackend(backend)).reason);
  const whole = await loadDataset({
    dataset: "cifar100",
    labels: "fine",
    root: "data",
    data,
    md5,
  });
  // Of the full 500 a fifth is all there is to test on.
  const many = classesOf(whole, (label) => !isFew(label), limit, Math.ceil(limit / 5));
  const few = classesOf(whole, isFew, 50, testLimit);

  const recipe: RunConfig = {
    ...preset("finetune"),
    ...model,
    ...{ dataset: "cifar100", seed, validationSplit: 0, layerDecay: 1, headRate: 1 },
    ...{ augment: "flip|crop(4)", learningRate: 1e-3 },
  };
  const pretraining = parseRunConfig({
    ...recipe,
    ...{ numClasses: 80, batchSize: 128, epochs: pretrainEpochs },
  });
  await trainOrGoOn(`${root}/pretrained`, pretraining, many);
  const folder = `${root}/hf`;
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  const state = await loadWeights(`${root}/pretrained/best.safetensors`);
  await saveForeign(folder, { ...state, config: modelConfigOf(state.config) }, "hf");
  const initial = await loadInitialWeights(folder);

  const tuning = { ...recipe, numClasses: 20, batchSize: 32, epochs };
  const foreign = { ...tuning, ...fieldsOf(initial), numClasses: 20 };
  const frozen: RunConfig = { ...foreign, freeze: "backbone", learningRate: 5e-3 };
  const runs: [name: string, config: RunConfig, start?: RunStart][] = [
    ["scratch", tuning],
    ["tuned", { ...foreign, learningRate: 5e-4, layerDecay: 0.75, headRate: 4 }, { initial }],
    ["frozen", frozen, { initial }],
    ["cached", { ...frozen, augment: "none", cacheFeatures: true }, { initial }],
  ];
  const results: Record<string, number> = {};
  for (const [name, config, start] of runs) {
    const path = `${root}/${name}`;
    // Always anew: they are short.
    await Deno.remove(path, { recursive: true }).catch(() => {});
    results[name] = await trainOrGoOn(path, parseRunConfig(config), few, start);
  }
  const gain = (name: string) => ((results[name]! - results.scratch!) * 100).toFixed(1);
  console.log(
    `points over random weights: all of it ${gain("tuned")}, head alone ${gain("frozen")}, on ` +
      `cached features ${gain("cached")}`,
  );
  Deno.exit(0);
});
