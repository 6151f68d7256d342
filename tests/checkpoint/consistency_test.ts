/** States with right checksums that no run has written: each is refused for what it contradicts. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { encodeSealed, readSealedFile } from "../../lib/checkpoint/checksums.ts";
import { checkHistory } from "../../lib/checkpoint/consistency.ts";
import { createRunFolder } from "../../lib/checkpoint/run_folder.ts";
import type { HistoryLine } from "../../lib/checkpoint/history.ts";
import { reopenRun } from "../../lib/checkpoint/reopen.ts";
import type { TensorData } from "../../lib/checkpoint/safetensors.ts";
import {
  hashConfig,
  loadState,
  loadWeights,
  saveState,
  saveWeights,
  verifyState,
} from "../../lib/checkpoint/state.ts";
import { UserError } from "../../lib/errors.ts";
import { writeFileAtomic } from "../../lib/files.ts";
import { inFolder } from "./folder.ts";
import { stateAt, stateConfig, stepsAnEpoch } from "./states_of_runs.ts";

// deno-lint-ignore no-explicit-any -- what is made wrong has any type
type Json = any;
interface Parts {
  progress: Json;
  config: Json;
  metadata: Record<string, string>;
  tensors: Map<string, TensorData>;
}

/** The file of a state, changed and sealed again. */
async function contradictory(path: string, step: number, change: (parts: Parts) => void) {
  await saveState(path, stateAt(step));
  const { metadata, tensors } = await readSealedFile(path);
  const plain = Object.entries(metadata).filter(([key]) => !key.startsWith("sha256"));
  const parts: Parts = {
    progress: JSON.parse(metadata.progress!),
    config: JSON.parse(metadata.config!),
    metadata: Object.fromEntries(plain),
    tensors,
  };
  change(parts);
  await writeFileAtomic(
    path,
    await encodeSealed(tensors, {
      ...parts.metadata,
      // JSON has no infinity, but a number that is read as one.
      progress: JSON.stringify(parts.progress).replaceAll('"INF"', "1e999"),
      config: JSON.stringify(parts.config),
      configHash: await hashConfig(parts.config),
    }),
  );
}

const progress = (fields: Json) => ({ progress }: Parts) => void Object.assign(progress, fields);
const sums = (fields: Json) => ({ progress }: Parts) => void Object.assign(progress.sums, fields);
const images = (fields: Json) => ({ progress }: Parts) =>
  void Object.assign(progress.preprocessing, fields);
const config = (fields: Json) => ({ config }: Parts) => void Object.assign(config, fields);
const put = (name: string, index: number, value: number) => ({ tensors }: Parts) =>
  void (tensors.get(name)!.data[index] = value);
const drop = (pattern: RegExp) => ({ tensors }: Parts) => {
  for (const name of tensors.keys()) if (pattern.test(name)) tensors.delete(name);
};
const zeros = (...shape: number[]): TensorData => ({
  dtype: "F32",
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
});
const kernel = "blocks.0.attention.query.kernel";

/**
 * A change of the state of step 13 (epoch 2, 3 of its 5 steps, 60 of its 90 images), and what the
 * refusal must say. Those of the first list are seen by whatever loads the weights too.
 */
const ofDescription: Record<string, [(parts: Parts) => void, ...says: string[]]> = {
  "a step of another epoch": [progress({ step: 3 }), "step is 3", "epoch 2", "make 13"],
  "an epoch of another step": [progress({ epoch: 3 }), "step is 13", "make 18"],
  "an epoch beyond all numbers": [progress({ epoch: 2 ** 53 - 1 }), "step is 13"],
  "a step beyond all numbers": [progress({ step: 2 ** 53 - 1 }), "step is 9007199254740991"],
  "a position beyond the epoch": [
    progress({ positionInEpoch: 6, step: 16 }),
    "positionInEpoch is 6",
    "5 steps",
  ],
  "a position of a thousand million": [progress({ positionInEpoch: 1e9 }), "is 1000000000", "5"],
  "another batchSize": [config({ batchSize: 10 }), "positionInEpoch 3", "make 21"],
  "another limit": [config({ limit: 0 }), "step is 13", "450 steps"],
  "another validationSplit": [config({ validationSplit: 0.5 }), "step is 13", "3 steps"],
  "fewer train images": [
    ({ progress }) => void (progress.dataset.trainCount = 40),
    "positionInEpoch is 3",
    "36 images",
  ],
  "no train images": [
    ({ progress }) => void (progress.dataset.trainCount = 0),
    "trainCount 0",
    "no image",
  ],
  "another seed": [progress({ seed: 8 }), "seed is 8", "1"],
  "more steps skipped than taken": [progress({ skippedSteps: 14 }), "is 14", "step 13"],
  "a best accuracy of 2": [progress({ bestValAccuracy: 2 }), "bestValAccuracy is 2", "0 to 1"],
  "a best accuracy of -2": [progress({ bestValAccuracy: -2 }), "bestValAccuracy is -2"],
  "a best accuracy of -0.5": [progress({ bestValAccuracy: -0.5 }), "bestValAccuracy is -0.5"],
  "a thousand million images seen": [sums({ images: 1e9 }), "sums.images is 1000000000", "60"],
  "7 images seen": [sums({ images: 7 }), "sums.images is 7", "seen 60"],
  "no images seen": [sums({ images: 0 }), "sums.images is 0", "seen 60"],
  "a step's images too many": [sums({ images: 80 }), "sums.images is 80", "seen 60"],
  "more hits than images": [sums({ top5: 61 }), "sums.top5 is 61", "60"],
  "more hits than top-5 hits": [sums({ top1: 16 }), "sums.top1 is 16", "sums.top5 15"],
  "hits below 0": [sums({ top1: -1 }), "sums.top1 is -1"],
  "top-5 hits below 0": [sums({ top1: -2, top5: -1 }), "sums.top1 is -2"],
  "more images skipped than seen": [sums({ skipped: 61 }), "sums.skipped is 61", "60"],
  "hits in images that were skipped": [sums({ skipped: 50 }), "sums.top5 is 15", "10"],
  "a loss of images that were skipped": [
    sums({ skipped: 60, top1: 0, top5: 0 }),
    "sums.loss is 276",
    "0",
  ],
  "a loss below 0": [sums({ loss: -1 }), "sums.loss is -1", "below 0"],
  "an infinite loss": [sums({ loss: "INF" }), "progress"],
  "no height": [images({ height: 0 }), "progress"],
  "a height of a thousand million": [images({ height: 1e9 }), "height is 1000000000", "4096"],
  "a width of 4097": [images({ width: 4097 }), "width is 4097", "4096"],
  "one channel": [images({ channels: 1 }), "preprocessing.channels is 1", "channels 3"],
  "a million channels": [images({ channels: 1e6 }), "channels is 1000000", "3"],
  "another number of channels": [config({ channels: 1 }), "channels is 3", "channels 1"],
  "two means": [images({ mean: [1, 2] }), "mean has 2", "3"],
  "no means": [images({ mean: [] }), "mean has 0", "3"],
  "four variances": [images({ variance: [1, 2, 3, 4] }), "variance has 4", "3"],
  "a mean of 1e308": [images({ mean: [1e308, 1, 1] }), "mean holds 1e+308", "0 to 255"],
  "a mean of 256": [images({ mean: [1, 256, 1] }), "mean holds 256", "0 to 255"],
  "a mean of -1": [images({ mean: [1, 1, -1] }), "mean holds -1"],
  "an infinite mean": [images({ mean: ["INF", 1, 1] }), "progress"],
  "a variance of -1": [images({ variance: [-1, 1, 1] }), "variance holds -1", "0 to 16256.25"],
  "a variance of 20,000": [images({ variance: [1, 1, 2e4] }), "variance holds 20000"],
  "more class names than classes": [
    progress({ classNames: Array.from({ length: 101 }, (_, i) => `${i}`) }),
    "101 classNames",
    "numClasses is 100",
  ],
  "fewer classes than class names": [
    config({ numClasses: 2 }),
    "the shape [12,100]",
  ],
  "a class name of 100,000 characters": [
    progress({ classNames: ["a", "\\u202e".repeat(1e5)] }),
    "has 600000 characters",
    "1000",
  ],
  "a data set's name of 2,000 characters": [
    ({ progress }) => void (progress.dataset.name = "\x1b".repeat(2000)),
    "dataset.name",
    "2000",
  ],
  "a version of 2,000 characters": [progress({ versions: { a: "x".repeat(2000) } }), "versions"],
  "another model": [config({ transformerLayers: 2 }), "lacks blocks.1."],
  "a thousand blocks": [config({ transformerLayers: 1000 }), "1000 transformerLayers"],
  "blocks with other widths": [
    config({ transformerUnits: [20, 8] }),
    "[8,16]",
    "[8,20]",
  ],
  "another pooling": [config({ pooling: "token" }), "patch_encoder"],
  "a weight too few": [drop(/^norm\.gamma$/), "lacks norm.gamma [8]"],
  "a weight too many": [({ tensors }) => void tensors.set("x\x1b[2J", zeros(1)), "tensor"],
  "a weight of another shape": [({ tensors }) => void tensors.set(kernel, zeros(8, 9)), "[8,9]"],
  "a weight turned round": [({ tensors }) => void tensors.set(kernel, zeros(64)), "[64]", "[8,8]"],
  "a weight in F64": [
    ({ tensors }) =>
      void tensors.set("norm.beta", { dtype: "F64", shape: [8], data: new Float64Array(8) }),
    "norm.beta is F64",
  ],
  "a weight that is NaN": [put(kernel, 63, NaN), `${kernel} holds NaN`],
  "a weight that is infinite": [put("norm.gamma", 0, Infinity), "norm.gamma holds Infinity"],
  "a weight that is -infinite": [put("classifier.bias", 99, -Infinity), "holds -Infinity"],
  "a moment of no weight": [({ tensors }) => void tensors.set("optimizer.m.x", zeros(1)), "m.x"],
  "another tensor of the optimizer": [
    ({ tensors }) => void tensors.set("optimizer.x", zeros(1)),
    '"optimizer.x"',
  ],
  "no moments": [drop(/^optimizer\./), "lacks optimizer.m."],
  "no first moments": [drop(/^optimizer\.m\./), "lacks optimizer.m."],
  "no second moments": [drop(/^optimizer\.v\./), "lacks optimizer.v."],
  "a moment too few": [drop(/^optimizer\.v\.norm\.beta$/), "lacks optimizer.v.norm.beta"],
  "a moment of another shape": [
    ({ tensors }) => void tensors.set("optimizer.m.norm.beta", zeros(7)),
    "optimizer.m.norm.beta has the shape [7]",
  ],
};
const ofMoments: typeof ofDescription = {
  "a first moment that is NaN": [put("optimizer.m.norm.beta", 3, NaN), "m.norm.beta holds NaN"],
  "a second moment that is infinite": [put("optimizer.v.norm.beta", 3, Infinity), "Infinity"],
  "a second moment below 0": [
    put("optimizer.v.norm.beta", 3, -0.5),
    "v.norm.beta holds -0.5",
    "below 0",
  ],
};

const all = { ...ofDescription, ...ofMoments };

Deno.test("at least 60 contradictions are known", () => {
  assert(Object.keys(all).length >= 60, `${Object.keys(all).length}`);
});

for (const [name, [change, ...says]] of Object.entries(all)) {
  Deno.test(`a sealed state is refused with ${name}`, () =>
    inFolder(async (folder) => {
      const path = `${folder}/last.safetensors`;
      await contradictory(path, 13, change);
      const loads = Object.hasOwn(ofDescription, name)
        ? [loadState, verifyState, loadWeights]
        : [loadState, verifyState];
      const start = performance.now();
      for (const load of loads) {
        const { message } = await assertRejects(() => load(path) as Promise<unknown>, UserError);
        assert(message.startsWith(path), message);
        for (const text of says) assert(message.includes(text), `${message} lacks ${text}`);
        assert(message.length < 500, message);
        // deno-lint-ignore no-control-regex -- what a terminal would act on
        assert(!/[\x00-\x1f\u202e]/.test(message), JSON.stringify(message));
        assert(message.endsWith("."), message);
      }
      assert(performance.now() - start < 1000);
      if (loads.includes(loadWeights)) return;
      await loadWeights(path);
    }));
}

Deno.test("states of every moment of a run load", () =>
  inFolder(async (folder) => {
    const path = `${folder}/last.safetensors`;
    for (let step = 0; step <= 2 * stepsAnEpoch; step++) {
      const state = stateAt(step);
      await saveState(path, state);
      assertEquals((await loadState(path)).step, step);
      await saveWeights(path, state);
      assertEquals((await loadWeights(path)).step, step);
      if (step === 0 || step % stepsAnEpoch !== 0) continue;
      // Before the validation of the epoch.
      const waiting = {
        ...{ epoch: state.epoch - 1, positionInEpoch: stepsAnEpoch },
        sums: { loss: 1, top1: 1, top5: 2, images: 90 },
      };
      await saveState(path, { ...state, ...waiting });
      await loadState(path);
      // With all of its images skipped, and more epochs than the run is now told to train.
      const skipped = { loss: 0, top1: 0, top5: 0, images: 90, skipped: 90 };
      const told = { ...stateConfig, epochs: 1 };
      await saveState(path, { ...state, ...waiting, sums: skipped, skippedSteps: 5, config: told });
      await loadState(path);
    }
    // Of random weights that were never trained, older versions could save no moments.
    const none = new Map();
    await saveState(path, { ...stateAt(0), moments1: none, moments2: none });
    await loadState(path);
  }));

const line = (epoch: number, fields: Partial<HistoryLine> = {}): HistoryLine => ({
  ...{ epoch, step: epoch * stepsAnEpoch, loss: 4, accuracy: 0.1, top5: 0.3 },
  ...{ valLoss: 4, valAccuracy: 0.2, valTop5: 0.4 },
  ...fields,
});

Deno.test("a history is checked against the state of its run", () => {
  const state = stateAt(13);
  const check = (...lines: HistoryLine[]) => checkHistory(lines, state, "h");
  check();
  check(line(1), line(2));
  // A line of an older version may be lost; those after the state are written again.
  check(line(2));
  check(line(1), line(2), line(3, { step: 1, valAccuracy: 1 }));
  check(line(1, { valAccuracy: null }), line(2, { valAccuracy: state.bestValAccuracy }));
  const refused = (says: string, ...lines: HistoryLine[]) => {
    const { message } = (() => {
      try {
        check(...lines);
        return new Error("nothing");
      } catch (error) {
        return error as Error;
      }
    })();
    assert(message.includes(says), message);
  };
  refused("Line 2 of h contradicts", line(1), line(2, { step: 11 }));
  refused("its step is 11, but 2 epochs of 5 steps make 10", line(1), line(2, { step: 11 }));
  refused("its valAccuracy is 0.9, but the best so far is 0.23", line(1, { valAccuracy: 0.9 }));
});

Deno.test("a run is not taken up with a history of another run, or with an epoch twice", () =>
  inFolder(async (folder) => {
    const run = await createRunFolder(`${folder}/run`, stateConfig);
    await saveState(run.last, stateAt(13));
    const write = (...lines: HistoryLine[]) =>
      Deno.writeTextFile(run.history, lines.map((each) => JSON.stringify(each) + "\n").join(""));
    await write(line(1), line(2));
    const { lock, state } = await reopenRun(run.path);
    await lock.release();
    assertEquals(state?.step, 13);
    for (
      const [says, ...lines] of [
        ["Line 2 of", line(1), line(1)],
        ["is of epoch 1, after a line of epoch 2", line(2), line(1)],
        ["its step is 7", line(1, { step: 7 })],
      ] as const
    ) {
      await write(...lines);
      await assertRejects(() => reopenRun(run.path), UserError, says);
    }
    // And the lock is given back.
    await write(line(1));
    await (await reopenRun(run.path)).lock.release();
  }));
