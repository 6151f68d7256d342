/** Loading a run's data set with progress shown, as `train` and `eval` do it. */
import type { RunConfig } from "../lib/config/run.ts";
import type { ImageDataset } from "../lib/data/dataset.ts";
import { loadDataset } from "../lib/data/load.ts";
import { oneOf } from "./cli.ts";
import { showDataProgress } from "./data_progress.ts";

/** Where data is kept, relative to the project. */
export const dataRoot = "data";

/** Options of the tasks that load data. */
export interface DataOptions {
  data?: string;
  md5?: string;
  onBroken?: string;
}

/** What `--on-broken` may be, for help texts. */
export const onBrokenText =
  "of your own pictures those that cannot be read: skip them, or stop and train nothing";

/**
 * The data set of a configuration, from `--data` where given.
 * @param onNotice told what a person should know, a sentence each
 */
export async function loadRunData(
  config: RunConfig,
  { data, md5, onBroken = "skip" }: DataOptions,
  onNotice: (text: string) => void,
): Promise<ImageDataset> {
  const choices = { skip: "skip", stop: "stop" } as const;
  const broken = oneOf("--on-broken", onBroken, choices);
  const { onProgress, stop } = showDataProgress();
  try {
    return await loadDataset({
      ...{ ...config, data, md5, root: dataRoot, onBroken: broken, onProgress },
      onNotice: (text) => {
        // A bar would be drawn over it.
        stop();
        onNotice(text);
      },
    });
  } finally {
    stop();
  }
}
