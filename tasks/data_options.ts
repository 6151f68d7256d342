/** Loading a run's data set with progress shown, as `train` and `eval` do it. */
import type { RunConfig } from "../lib/config/run.ts";
import type { ImageDataset } from "../lib/data/dataset.ts";
import { loadDataset } from "../lib/data/load.ts";
import { showDataProgress } from "./data_progress.ts";

/** Where data is kept, relative to the project. */
export const dataRoot = "data";

/** The data set of a configuration, from `--data` where given. */
export async function loadRunData(
  config: RunConfig,
  options: { data?: string; md5?: string },
): Promise<ImageDataset> {
  const { onProgress, stop } = showDataProgress();
  try {
    const { data, md5 } = options;
    const { dataset, labels } = config;
    return await loadDataset({ dataset, labels, data, md5, root: dataRoot, onProgress });
  } finally {
    stop();
  }
}
