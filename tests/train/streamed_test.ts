import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { startOfRun } from "../../lib/checkpoint/progress.ts";
import { modelConfigOf, preset, type RunConfig } from "../../lib/config/run.ts";
import { type ImageDataset, limitSplit, sliceSplit } from "../../lib/data/dataset.ts";
import { openImageFolder } from "../../lib/data/open_images.ts";
import { UserError } from "../../lib/errors.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import type { tf } from "../../lib/tfjs.ts";
import { DeviceDataset } from "../../lib/train/device_dataset.ts";
import { evaluate } from "../../lib/train/evaluate.ts";
import type { RunEvent } from "../../lib/train/events.ts";
import { fit, type FitResult } from "../../lib/train/fit.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../data/fixtures.ts";
import { classesOf, writeTree } from "../data/picture_files.ts";

const plainRun: RunConfig = {
  ...preset("tiny"),
  ...{ imageSize: 8, transformerLayers: 1, numClasses: 3, epochs: 2, batchSize: 8 },
};

/** An odd number of bytes a record, so that the last word is filled up. */
const storedSize = 9;

async function open(folder: string, deviceData: number, limit = 0): Promise<ImageDataset> {
  return await openImageFolder(`${folder}/photos`, {
    ...{ storedSize, deviceData, limit, workers: 1, preparedRoot: `${folder}/prepared` },
  });
}

/** What {@linkcode trained} may be told. */
interface Training {
  /** The data from the sixth step on, where the run is stopped and goes on. */
  later?: ImageDataset;
  config?: RunConfig;
}

async function floatsOf(variable: tf.Variable): Promise<Float32Array<ArrayBuffer>> {
  return new Float32Array(await variable.data<"float32">());
}

/** SHA-256 of arrays one after another: two of them are compared, and shown, in no time. */
async function digestOf(arrays: readonly Float32Array<ArrayBuffer>[]): Promise<string> {
  const bytes = await new Blob([...arrays]).arrayBuffer();
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** What a run of two epochs comes to: statistics, losses, weights. */
async function trained(
  dataset: ImageDataset,
  { later, config = plainRun }: Training = {},
): Promise<unknown> {
  using first = new DeviceDataset(dataset, config);
  using second = later ? new DeviceDataset(later, config) : null;
  const data = second ?? first;
  const model = createViTClassifier(modelConfigOf(config), { seed: config.seed });
  const optimizer = new AdamW(config);
  const progress = startOfRun();
  const common = { config, model, optimizer, progress };
  const history: FitResult["history"] = [];
  if (second) {
    const stop = new AbortController();
    const onEvent = (event: RunEvent) => {
      if (event.type === "step" && event.step === 6) stop.abort();
    };
    const stopped = await fit({
      ...common,
      data: first,
      signal: stop.signal,
      onEvent,
      readInterval: 0,
    });
    assertEquals([stopped.complete, progress.step], [false, 6]);
    history.push(...stopped.history);
  }
  history.push(...(await fit({ ...common, data })).history);
  const variables = [...namedVariables(model).values()];
  const weights = await digestOf(await Promise.all(variables.map(floatsOf)));
  const test = await evaluate(model, data.test, { batchSize: 4 });
  model.dispose();
  optimizer.dispose();
  const losses = history.map(({ loss, valLoss, accuracy }) => [loss, valLoss, accuracy]);
  return { statistics: data.preprocessing, losses, test, weights, progress };
}

forEachBackend("streamed and resident runs give the same bytes", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, { ...classesOf(["a", "b", "c"], 12), "b/x.png": "broken" });
    const resident = await open(folder, Infinity);
    const streamed = await open(folder, 1000);
    assertEquals([resident.train.streamed, streamed.train.images.length], [undefined, 0]);
    assertEquals(streamed.identity, resident.identity);
    assertEquals(streamed.train.labels, resident.train.labels);
    const whole = await trained(resident);
    assertEquals(await trained(streamed), whole);
    assertEquals(
      await trained(streamed, { later: resident }),
      whole,
      "stopped and gone on from memory",
    );
    assertEquals(
      await trained(resident, { later: streamed }),
      whole,
      "stopped and gone on from disk",
    );
  }));

/** What takes a batch apart, and the last, smaller one of an epoch: 33 images are trained on. */
const apart: Record<string, Partial<RunConfig>> = {
  "accumulated in two parts": { accumulate: 2 },
  "mixed": { augment: "flip|mixup(0.8)|cutmix(1)" },
  "mixed and accumulated": { augment: "flip|mixup(0.8)|cutmix(1)", accumulate: 4 },
};
for (const [name, fields] of Object.entries(apart)) {
  forEachBackend(
    `streamed and resident runs give the same bytes, ${name}`,
    () =>
      inFolder(async (folder) => {
        await writeTree(`${folder}/photos`, classesOf(["a", "b", "c"], 12));
        const config = { ...plainRun, ...fields };
        const whole = await trained(await open(folder, Infinity), { config });
        assertEquals(await trained(await open(folder, 1000), { config }), whole);
      }),
  );
}

forEachBackend(
  "a streamed split reads what was asked, ahead or not, and its parts too",
  () =>
    inFolder(async (folder) => {
      await writeTree(`${folder}/photos`, classesOf(["a", "b", "c"], 12));
      const { train } = await open(folder, Infinity);
      const limited = await open(folder, 0, 20);
      const config = { limit: 20, validationSplit: 0.1 };
      using data = new DeviceDataset(limited, config);
      using resident = new DeviceDataset(await open(folder, Infinity), config);
      assertEquals(data.preprocessing, resident.preprocessing);
      assertThrows(
        () => new DeviceDataset(limited, { ...config, limit: 19 }),
        UserError,
        "0 of 19 images were counted",
      );
      const split = limitSplit(limited.train, 20);
      assertEquals(split.count, 20);
      using part = sliceSplit(split, 17, 19).streamed!.open();
      using stream = split.streamed!.open();
      const record = storedSize ** 2 * 3;
      const indices = Int32Array.of(17, 0, 19, 0);
      const words = await stream.read(indices);
      assertEquals(await part.read(Int32Array.of(0)), words.slice(0, Math.ceil(record / 4)));
      assertEquals(words.length, 4 * Math.ceil(record / 4));
      const bytes = new Uint8Array(words.buffer);
      for (const [i, index] of indices.entries()) {
        const start = i * Math.ceil(record / 4) * 4;
        assertEquals(
          bytes.subarray(start, start + record),
          train.images.subarray(index * record, (index + 1) * record),
        );
      }
    }),
  { backends: ["cpu"] },
);

const losses: Record<string, [loss: (shard: string) => Promise<void>, says: RegExp]> = {
  "gone": [(shard) => Deno.remove(shard), /Cannot read .*000000\.shard .*start again/],
  "cut": [(shard) => Deno.truncate(shard, 500), /\.shard \(it ends too early\); start again/],
};

for (const [what, [lose, says]] of Object.entries(losses)) {
  forEachBackend(
    `a shard that is ${what} while it is trained on is a sentence`,
    () =>
      inFolder(async (folder) => {
        await writeTree(`${folder}/photos`, classesOf(["a", "b", "c"], 12));
        const dataset = await open(folder, 0);
        using data = new DeviceDataset(dataset, plainRun);
        const [{ name }] = await Array.fromAsync(Deno.readDir(`${folder}/prepared`)) as [
          Deno.DirEntry,
        ];
        await lose(`${folder}/prepared/${name}/000000.shard`);
        // The last picture: what is cut off.
        const last = Int32Array.of(data.train.count - 1);
        const refusal = await assertRejects(() => data.train.ready(last), UserError);
        assert(says.test(refusal.message), refusal.message);
      }),
    { backends: ["cpu"] },
  );
}
