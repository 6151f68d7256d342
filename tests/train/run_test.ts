import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { loadState, loadWeights, saveState } from "../../lib/checkpoint/state.ts";
import { modelConfigOf, type RunConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { tf } from "../../lib/tfjs.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { evaluate } from "../../lib/train/evaluate.ts";
import type { EpochLine } from "../../lib/train/events.ts";
import type { RunOptions } from "../../lib/train/run.ts";
import { assignWeights } from "../../lib/train/weights.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder, names } from "../checkpoint/folder.ts";
import { type Finished, on, preprocessingOf, shapes, tinyRun, train } from "./tiny_run.ts";

type Arrays = ReadonlyMap<string, { readonly data: Float32Array }>;

/** Bytes of every array, by name. */
function bytesOf(arrays: Arrays): Record<string, Uint8Array> {
  return Object.fromEntries([...arrays].map(([name, { data }]) => [
    name,
    new Uint8Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)),
  ]));
}

/** What two runs must agree in to be the same run. */
interface Outcome extends Finished {
  last: Record<string, unknown>;
  best: Record<string, Uint8Array>;
  memory: unknown[];
}

async function outcomeOf(finished: Finished, memory: unknown[] = []): Promise<Outcome> {
  const { weights, moments1, moments2, configHash: _, ...rest } = await loadState(
    finished.folder.last,
  );
  const last = {
    ...rest,
    weights: bytesOf(weights),
    moments1: bytesOf(moments1),
    moments2: bytesOf(moments2),
  };
  const best = bytesOf((await loadWeights(finished.folder.best)).weights);
  return { ...finished, last, best, memory };
}

function assertSameRun(actual: Outcome, expected: Outcome): void {
  assertEquals(actual.history, expected.history);
  assertEquals(actual.last, expected.last);
  assertEquals(actual.best, expected.best);
  assertEquals(actual.result, expected.result);
}

function memoryNow(): Record<string, number> {
  const { numTensors, numDataBuffers, numBytes, ...rest } = tf.memory();
  const { numBytesInGPU = 0 } = rest as { numBytesInGPU?: number };
  return { numTensors, numDataBuffers, numBytes, numBytesInGPU };
}

const references = new Map<string, Promise<Outcome>>();

/** `tinyRun` without a break, once per backend; its files are gone, what they held is kept. */
function reference(): Promise<Outcome> {
  const backend = tf.getBackend();
  let outcome = references.get(backend);
  if (!outcome) {
    outcome = (async () => {
      let outcome: Outcome | undefined;
      await inFolder(async (folder) => {
        const memory: unknown[] = [];
        const watched = on({ step: () => memory.push(memoryNow()) });
        outcome = await outcomeOf(await train(`${folder}/run`, tinyRun, watched), memory);
      });
      return outcome!;
    })();
    references.set(backend, outcome);
  }
  return outcome;
}

function linesOf(history: string): EpochLine[] {
  return history.split("\n").map((line) => JSON.parse(line));
}

forEachBackend("a run: every image once an epoch, a line each, test in the end", async () => {
  const { result, events, history } = await reference();
  assertEquals(
    events.map((e) => [e.epoch, e.stepInEpoch, e.stepsPerEpoch, e.step, e.imagesSeen]),
    [[1, 1, 3, 1, 20], [1, 2, 3, 2, 40], [1, 3, 3, 3, 50], [2, 1, 3, 4, 20], [2, 2, 3, 5, 40], [
      2,
      3,
      3,
      6,
      50,
    ]],
  );
  const lines = linesOf(history);
  assertEquals(lines.map(({ epoch, step }) => [epoch, step]), [[1, 3], [2, 6]]);
  for (const [i, line] of lines.entries()) {
    const { loss, accuracy, top5 } = events[3 * i + 2]!;
    assertEquals([line.loss, line.accuracy, line.top5], [loss, accuracy, top5]);
    for (const value of [line.accuracy, line.top5]) assertEquals(value * 50 % 1, 0);
    for (const value of [line.valAccuracy!, line.valTop5!]) assertEquals(value * 25 % 1, 0);
    assert(line.loss > 3 && line.loss < 6 && line.valLoss! > 3 && line.valLoss! < 6);
  }
  assertEquals([result.complete, result.step], [true, 6]);
});

forEachBackend("no tensor and no byte more from step 2 on", async () => {
  const { memory } = await reference();
  assertEquals(memory.length, 6);
  assertEquals(memory.slice(2), Array(4).fill(memory[1]));
});

forEachBackend("one seed, one result: reading rarely changes nothing", async () => {
  const expected = await reference();
  await inFolder(async (folder) => {
    const again = await train(`${folder}/run`, tinyRun, { readInterval: Infinity });
    assertEquals(again.events.map(({ step }) => step), [1, 3, 6]);
    assertSameRun(await outcomeOf(again), expected);
  });
});

forEachBackend("another seed is another run", async () => {
  const expected = await reference();
  await inFolder(async (folder) => {
    const other = await outcomeOf(await train(`${folder}/run`, { ...tinyRun, seed: 8 }));
    assertNotEquals(other.history, expected.history);
    assertNotEquals(other.last.weights, expected.last.weights);
  });
}, { backends: ["cpu"] });

/** Stops the run by `options`, which abort `stop`; checks the state; goes on. */
async function assertResumes(
  at: { step: number; epoch: number; positionInEpoch: number; images: number },
  interrupt: (stop: AbortController) => Partial<RunOptions>,
): Promise<void> {
  const expected = await reference();
  await inFolder(async (folder) => {
    const stop = new AbortController();
    const stopped = await train(`${folder}/run`, tinyRun, {
      ...interrupt(stop),
      signal: stop.signal,
    });
    const { complete, step, test } = stopped.result;
    assertEquals([complete, step, test], [false, at.step, null]);
    const state = await loadState(stopped.folder.last);
    assertEquals(
      [state.step, state.epoch, state.positionInEpoch, state.sums.images],
      [at.step, at.epoch, at.positionInEpoch, at.images],
    );
    assertEquals(stopped.history.split("\n").filter(Boolean).length, at.epoch);
    const resumed = await train("", tinyRun, {
      folder: stopped.folder,
      start: { resume: state },
    });
    assertEquals(resumed.events[0]?.step ?? at.step + 1, at.step + 1);
    assertSameRun(await outcomeOf(resumed), expected);
  });
}

const stopAt = (step: number) => (stop: AbortController): Partial<RunOptions> =>
  on({ step: (event) => event.step === step && stop.abort() });

forEachBackend(
  "stopped before the test images and resumed, it is the same run",
  () =>
    assertResumes(
      { step: 6, epoch: 2, positionInEpoch: 0, images: 0 },
      (stop) => on({ epoch: ({ line }) => line.epoch === 2 && stop.abort() }),
    ),
);

forEachBackend(
  "stopped within an epoch and resumed, it is the same run",
  () => assertResumes({ step: 4, epoch: 1, positionInEpoch: 1, images: 20 }, stopAt(4)),
);

forEachBackend(
  "stopped between two reads and resumed, it is the same run",
  async () => {
    // The request comes while the second step is under way, which is finished and read.
    const { trainingValues } = DeviceSplit.prototype;
    try {
      await assertResumes({ step: 2, epoch: 0, positionInEpoch: 2, images: 40 }, (stop) => {
        DeviceSplit.prototype.trainingValues = function (indices, config, step) {
          if (step === 1) stop.abort();
          return trainingValues.call(this, indices, config, step);
        };
        return { readInterval: Infinity };
      });
    } finally {
      DeviceSplit.prototype.trainingValues = trainingValues;
    }
  },
  { backends: ["wasm", "cpu"] },
);

forEachBackend(
  "stopped at the end of an epoch and resumed, it is the same run",
  () => assertResumes({ step: 3, epoch: 0, positionInEpoch: 3, images: 50 }, stopAt(3)),
  {
    backends: ["wasm", "cpu"],
  },
);

forEachBackend(
  "stopped in the last validation and resumed, it is the same run",
  () =>
    assertResumes({ step: 6, epoch: 1, positionInEpoch: 3, images: 50 }, (stop) => {
      let batches = 0;
      return on({ validation: () => ++batches === 3 && stop.abort() });
    }),
);

forEachBackend(
  "stopped before its first step and resumed, it is the same run",
  () =>
    assertResumes({ step: 0, epoch: 0, positionInEpoch: 0, images: 0 }, (stop) => {
      stop.abort();
      return {};
    }),
  { backends: ["cpu"] },
);

forEachBackend("lines that a crash left after the state are written anew", async () => {
  const expected = await reference();
  await inFolder(async (folder) => {
    const stop = new AbortController();
    const options = { ...stopAt(4)(stop), signal: stop.signal };
    const stopped = await train(`${folder}/run`, tinyRun, options);
    const resume = await loadState(stopped.folder.last);
    await Deno.writeTextFile(stopped.folder.history, `${recordOf(2)}\n`, { append: true });
    const resumed = await train("", tinyRun, { folder: stopped.folder, start: { resume } });
    assertSameRun(await outcomeOf(resumed), expected);
  });
}, { backends: ["cpu"] });

function recordOf(epoch: number): string {
  return JSON.stringify({ epoch, step: 6, loss: 1, accuracy: 1, top5: 1 });
}

forEachBackend("more epochs may be added to a complete run", async () => {
  await inFolder(async (folder) => {
    const short = await train(`${folder}/run`, { ...tinyRun, epochs: 1 });
    assertEquals(short.result.step, 3);
    const resume = await loadState(short.folder.last);
    const long = await train("", tinyRun, { folder: short.folder, start: { resume } });
    const { last, best, history } = await reference();
    const outcome = await outcomeOf(long);
    assertEquals([outcome.last, outcome.best, outcome.history], [last, best, history]);
  });
}, { backends: ["cpu"] });

forEachBackend(
  "the best weights are those of the best val_accuracy, and the ones tested",
  async () => {
    await inFolder(async (folder) => {
      const told: boolean[] = [];
      const { folder: run, result, history } = await train(`${folder}/run`, {
        ...tinyRun,
        epochs: 5,
      }, on({ epoch: ({ isBest }) => told.push(isBest) }));
      let highest = -1;
      const rises = linesOf(history).map(({ valAccuracy }) => {
        const rose = valAccuracy! > highest;
        highest = Math.max(highest, valAccuracy!);
        return rose;
      });
      assertEquals(told, rises);
      const best = await loadWeights(run.best);
      assertEquals([best.step, best.bestValAccuracy], [3 * (rises.lastIndexOf(true) + 1), highest]);
      assert(rises.includes(false), "every epoch was the best: the last weights would do as well");

      const model = createViTClassifier(modelConfigOf(tinyRun));
      assignWeights(model, best.weights, run.best);
      const preprocessing = preprocessingOf(shapes.train);
      assertEquals(best.preprocessing, preprocessing);
      assertEquals(best.classNames, shapes.classNames);
      const split = new DeviceSplit(shapes.test, preprocessing);
      assertEquals(await evaluate(model, split, { batchSize: 20 }), result.test!);
      split.dispose();
      model.dispose();
    });
  },
  { backends: ["wasm", "cpu"] },
);

forEachBackend("without validation the newest weights are the best", async () => {
  await inFolder(async (folder) => {
    const config = { ...tinyRun, validationSplit: 0 };
    const finished = await train(`${folder}/run`, config);
    const [line] = linesOf(finished.history);
    assertEquals([line!.valLoss, line!.valAccuracy, line!.valTop5], [null, null, null]);
    assertEquals(finished.events.at(-1)!.imagesSeen, 75);
    const { last, best } = await outcomeOf(finished);
    assertEquals(best, last.weights as typeof best);
  });
}, { backends: ["cpu"] });

forEachBackend("limit takes the first records of each split", async () => {
  await inFolder(async (folder) => {
    const config = { ...tinyRun, limit: 12, epochs: 1, batchSize: 100 };
    const { events, result, folder: run } = await train(`${folder}/run`, config);
    assertEquals(events.map(({ imagesSeen }) => imagesSeen), [8]);
    assertEquals(result.test!.accuracy * 12 % 1, 0);
    assertEquals((await loadWeights(run.best)).dataset.trainCount, 75);
  });
}, { backends: ["cpu"] });

/** The error of a run, and which files it left. */
async function failureOf(
  folder: string,
  config: RunConfig,
  options: Partial<RunOptions> = {},
): Promise<string> {
  const { message } = await assertRejects(() => train(`${folder}/run`, config, options), UserError);
  assertEquals(message.split("\n").length, 1);
  return message;
}

forEachBackend("a loss that becomes NaN ends the run and names the step", async () => {
  await inFolder(async (folder) => {
    const config = { ...tinyRun, learningRate: 1e30 };
    for (const readInterval of [0, Infinity]) {
      assertEquals(
        await failureOf(`${folder}/${readInterval}`, config, { readInterval }),
        "The loss became NaN or infinite at step 2 (first: the output of blocks.0.attention at " +
          "step 2); the weights saved before it are untouched, try again with a smaller " +
          "--learning-rate than 1e+30, or with --on-nan skip.",
      );
      assertEquals(await names(`${folder}/${readInterval}/run`), ["config.json"]);
    }
  });
});

forEachBackend("a loss that becomes NaN later leaves best and last as they were", async () => {
  await inFolder(async (folder) => {
    const { folder: run } = await train(`${folder}/run`, { ...tinyRun, epochs: 1 });
    const resume = await loadState(run.last);
    // What a step too long would have done to the weights.
    resume.weights.get("classifier.bias")!.data[3] = Infinity;
    const files = () => Promise.all([run.best, run.last, run.history].map((f) => Deno.readFile(f)));
    const before = await files();
    const message = await failureOf(folder, tinyRun, { folder: run, start: { resume } });
    const first = "(first: the weight classifier.bias after step 3); the weights";
    assert(message.startsWith(`The loss became NaN or infinite at step 4 ${first}`), message);
    assertEquals(await files(), before);
  });
}, { backends: ["wasm", "cpu"] });

forEachBackend("an epoch's last update is checked before anything is saved", async () => {
  await inFolder(async (folder) => {
    const oneStep = { ...tinyRun, batchSize: 75 };
    const validated = await failureOf(`${folder}/a`, { ...oneStep, learningRate: 1e30 });
    assert(
      validated.startsWith("The validation loss became NaN or infinite at step 1; the weights"),
      validated,
    );
    // Without validation no forward pass sees the weights; 1e39 is no float32.
    const config = { ...oneStep, validationSplit: 0, learningRate: 1e39 };
    const unvalidated = await failureOf(`${folder}/b`, config);
    assert(
      /^The weight (\S+) became NaN or infinite at step 1 \(first: the weight \1 /.test(
        unvalidated,
      ),
      unvalidated,
    );
    for (const each of ["a", "b"]) {
      assertEquals(await names(`${folder}/${each}/run`), ["config.json"]);
    }
  });
}, { backends: ["wasm", "cpu"] });

forEachBackend("what does not fit is refused before the first step", async () => {
  await inFolder(async (folder) => {
    const { folder: run } = await train(`${folder}/run`, { ...tinyRun, epochs: 1 });
    const resume = await loadState(run.last);
    const refusal = (config: RunConfig, options: Partial<RunOptions> = {}) =>
      failureOf(folder, config, { folder: run, ...options });
    const before = await Deno.readFile(run.last);

    const seed = await refusal({ ...tinyRun, seed: 8 }, { start: { resume } });
    assert(seed.includes("another configuration: its seed is 7, this run's is 8"), seed);
    const other = { ...shapes, identity: "0".repeat(64) };
    const data = await refusal(tinyRun, { start: { resume }, dataset: other });
    assert(data.includes("000000000000"), data);
    const classes = await refusal({ ...tinyRun, numClasses: 10 });
    assert(classes.startsWith("numClasses 10 is less than the 100 classes of shapes;"), classes);
    const channels = await refusal({ ...tinyRun, channels: 1 });
    assert(channels.startsWith("channels 1 is not the 3 of shapes"), channels);
    const none = await refusal({ ...tinyRun, limit: 1, validationSplit: 0 }, {
      dataset: { ...shapes, train: { ...shapes.train, ...emptied } },
    });
    assert(none.includes("leaves none to train on"), none);

    // A state whose weights are of another model, as a hand-made file may be.
    const foreign = { ...resume, weights: new Map(resume.weights) };
    foreign.weights.delete("norm.gamma");
    const missing = await refusal(tinyRun, { start: { resume: foreign } });
    assert(missing.includes("norm.gamma is missing, this model needs [8]"), missing);
    assertEquals(await Deno.readFile(run.last), before);
  });
}, { backends: ["cpu"] });

const emptied = { images: new Uint8Array(0), labels: new Uint8Array(0), count: 0 };

forEachBackend("assignWeights refuses a weight of another shape and assigns none", async () => {
  const model = createViTClassifier(modelConfigOf(tinyRun), { seed: 1 });
  const weights = new Map(
    [...await weightsOf(model)].map(([name, { shape, data }]) => [
      name,
      { shape, data: data.fill(9) },
    ]),
  );
  weights.set("classifier.bias", { shape: [10], data: new Float32Array(10) });
  const before = bytesOf(await weightsOf(model));
  assertThrows(
    () => assignWeights(model, weights, "x.safetensors"),
    UserError,
    "The checkpoint x.safetensors is of another model: its weight classifier.bias has the shape " +
      "[10], this model needs [100].",
  );
  assertEquals(bytesOf(await weightsOf(model)), before);
  model.dispose();
}, { backends: ["cpu"] });

async function weightsOf(model: tf.LayersModel) {
  const weights = new Map<string, { shape: number[]; data: Float32Array }>();
  for (const [name, variable] of namedVariables(model)) {
    weights.set(name, { shape: variable.shape, data: (await variable.data<"float32">()).slice() });
  }
  return weights;
}

forEachBackend("training does not change the state that it resumes from", async () => {
  await inFolder(async (folder) => {
    const { folder: run } = await train(`${folder}/run`, { ...tinyRun, epochs: 1 });
    const resume = await loadState(run.last);
    const arrays = () =>
      [resume.weights, resume.moments1, resume.moments2].map((each) => bytesOf(each));
    const before = arrays();
    await train("", tinyRun, { folder: run, start: { resume } });
    assertEquals(arrays(), before);
    // And so it can be saved and resumed from again.
    await saveState(`${folder}/again.safetensors`, resume);
    assertEquals((await loadState(`${folder}/again.safetensors`)).step, 3);
  });
}, { backends: ["cpu"] });
