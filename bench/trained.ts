/** Runs that a measurement trains. */
import { reopenRun } from "../lib/checkpoint/reopen.ts";
import { createRunFolder } from "../lib/checkpoint/run_folder.ts";
import type { RunConfig } from "../lib/config/run.ts";
import type { ImageDataset } from "../lib/data/dataset.ts";
import { type RunStart, trainRun } from "../lib/train/run.ts";

/**
 * Trains a run, and says how it goes; one that is there already goes on.
 *
 * @returns the test accuracy
 */
export async function trainOrGoOn(
  path: string,
  config: RunConfig,
  dataset: ImageDataset,
  start?: RunStart,
): Promise<number> {
  const began = performance.now();
  const isThere = await Deno.stat(`${path}/last.safetensors`).then(() => true, () => false);
  const { run, lock, state } = isThere
    ? await reopenRun(path)
    : { run: await createRunFolder(path, config), lock: undefined, state: undefined };
  const { test } = await trainRun({
    ...{ config, dataset, folder: run, lock },
    start: state ? { resume: state } : start,
    onEvent: (event) => {
      if (event.type !== "epoch") return;
      const { epoch, loss, accuracy, seconds } = event.line;
      console.error(
        `${path} ${epoch}: loss ${loss.toFixed(3)} ${accuracy.toFixed(4)} ${seconds} s`,
      );
    },
  });
  await lock?.release();
  const seconds = Math.round((performance.now() - began) / 1000);
  console.log(`${path}: top-1 ${(test!.accuracy * 100).toFixed(2)} % in ${seconds} s`);
  return test!.accuracy;
}
