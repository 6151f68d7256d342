/**
 * Training on pictures that are larger than the device's budget for data, measured:
 *
 *     deno run --allow-read --allow-write --allow-run=deno --allow-env=XDG_RUNTIME_DIR \
 *       bench/streamed.ts --steps 500
 *
 * `--times` as many bytes of images as `--device-data` would allow are prepared and read batch by
 * batch. Each backend trains `tiny` in a process of its own, which prints memory early and late, when
 * garbage is collected, and which share of the time steps waited for images.
 */
import { Option } from "@commander-js/extra-typings";
import { selectBackend } from "../lib/backend/select.ts";
import { modelConfigOf, preset } from "../lib/config/run.ts";
import { openImageFolder } from "../lib/data/open_images.ts";
import { createShapes } from "../lib/data/shapes.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { encodePng } from "../lib/report/encode_png.ts";
import { tf } from "../lib/tfjs.ts";
import { waitedForDataMs } from "../lib/train/batches.ts";
import { DeviceDataset } from "../lib/train/device_dataset.ts";
import { fit } from "../lib/train/fit.ts";
import { newCommand, runTask } from "../tasks/cli.ts";

interface Options {
  backend: string;
  steps: number;
  /** The step from which on memory must not grow. */
  settled: number;
  batch: number;
  images: number;
  times: number;
  /** Holds the pictures and what is prepared. */
  root: string;
}

/** Side of a picture, in pixels; what is stored has a quarter more than the model's input. */
const side = 40;

/** Writes `shapes` as a folder of pictures. */
async function writePictures({ root, images }: Options): Promise<void> {
  const { train, classNames, height, width, channels } = createShapes({ train: images, test: 1 });
  for (const name of classNames) await Deno.mkdir(`${root}/photos/${name}`, { recursive: true });
  const bytes = height * width * channels;
  for (let i = 0; i < train.count; i++) {
    const data = train.images.subarray(i * bytes, (i + 1) * bytes);
    const png = encodePng({ width, height, channels: 3, data });
    await Deno.writeFile(`${root}/photos/${classNames[train.labels[i]!]}/${i}.png`, png);
  }
}

interface Held {
  /** Bytes of the process. */
  rss: number;
  /** Bytes on the device, or of the wasm heap. */
  device: number;
}

async function held(): Promise<Held> {
  const { numBytesInGPU } = tf.memory() as { numBytesInGPU?: number };
  const backend = tf.backend() as unknown as { wasm?: { HEAPU8: Uint8Array } };
  const device = numBytesInGPU ?? backend.wasm?.HEAPU8.length ?? 0;
  // What a finalizer frees needs a turn.
  for (let i = 0; i < 3; i++) {
    (globalThis as { gc?: () => void }).gc?.();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return { rss: Deno.memoryUsage().rss, device };
}

async function train(options: Options): Promise<void> {
  const { root, steps, settled, times } = options;
  const { reason } = await selectBackend(options.backend);
  const total = options.images * side ** 2 * 3;
  const dataset = await openImageFolder(`${root}/photos`, {
    ...{
      storedSize: side,
      deviceData: Math.floor(total / times),
      preparedRoot: `${root}/prepared`,
    },
  });
  if (!dataset.train.streamed) throw new Error("The images fit the budget");
  const config = { ...preset("tiny"), batchSize: options.batch, epochs: 1 };
  config.epochs = Math.ceil(steps / Math.floor(dataset.train.count / config.batchSize)) + 1;
  using data = new DeviceDataset(dataset, config);
  const model = createViTClassifier(modelConfigOf(config), { seed: config.seed });
  const stop = new AbortController();
  const seen: Promise<Held>[] = [];
  let [began, waited] = [0, 0];
  let seconds = 0;
  await fit({
    ...{ config, model, data, signal: stop.signal, readInterval: 0 },
    onEvent: (event) => {
      if (event.type !== "step") return;
      if (event.step === settled || event.step === steps) seen.push(held());
      // The first steps compile.
      if (event.step === settled) [began, waited] = [performance.now(), waitedForDataMs];
      if (event.step !== steps) return;
      seconds = (performance.now() - began) / 1000;
      waited = waitedForDataMs - waited;
      stop.abort();
    },
  });
  const [early, late] = await Promise.all(seen) as [Held, Held];
  const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  console.log(
    `${options.backend} (${reason}): ${mb(total)} of images, ${times} times the budget; steps ` +
      `${settled} to ${steps}: process ${mb(early.rss)}, then ${mb(late.rss)}; device ` +
      `${mb(early.device)}, then ${mb(late.device)}; ${
        (seconds * 1000 / (steps - settled)).toFixed(0)
      } ` +
      `ms a step, ${(waited / seconds / 10).toFixed(2)} % of the time waited for images`,
  );
}

await runTask(async () => {
  const command = newCommand("streamed", "Measure training on images read batch by batch.")
    .option("--backends <names>", "one after the other", "wasm,webgpu")
    .option("--steps <n>", "steps", "500")
    .option("--settled <n>", "step of the first look at memory", "50")
    .option("--batch <n>", "images a step", "64")
    .option("--images <n>", "pictures", "10000")
    .option("--times <n>", "how many times the budget they take", "10")
    .addOption(new Option("--child <backend>").hideHelp())
    .addOption(new Option("--root <folder>").default("").hideHelp());
  command.parse();
  const { child, backends, root, ...given } = command.opts();
  const [steps, settled, batch, images, times] = [given.steps, given.settled, given.batch]
    .concat(given.images, given.times).map(Number) as [number, number, number, number, number];
  const options = { backend: child ?? "", root, steps, settled, batch, images, times };
  if (child) return await train(options);
  const folder = await Deno.makeTempDir();
  try {
    await writePictures({ ...options, root: folder });
    for (const backend of backends.split(",")) {
      const { code } = await new Deno.Command("deno", {
        args: [
          ...["run", "-A", "--no-check", "--v8-flags=--expose-gc", import.meta.filename!],
          ...Deno.args,
          ...["--child", backend, "--root", folder],
        ],
        ...{ stdin: "null", stdout: "inherit", stderr: "inherit" },
      }).output();
      if (code !== 0) throw new Error(`Training on ${backend} ended with ${code}`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
