/** Loading a run's data set with progress shown, as `train` and `eval` do it. */
import { bufferLimit, currentGpu } from "../lib/backend/device.ts";
import type { RunConfig } from "../lib/config/run.ts";
import type { ImageDataset } from "../lib/data/dataset.ts";
import { loadDataset } from "../lib/data/load.ts";
import { UserError } from "../lib/errors.ts";
import { oneOf } from "./cli.ts";
import { showDataProgress } from "./data_progress.ts";

/** Where data is kept, relative to the project. */
const dataRoot = "data";

/** Options of the tasks that load data. */
export interface DataOptions {
  data?: string;
  md5?: string;
  onBroken?: string;
  deviceData?: string;
}

/** What `--on-broken` may be, for help texts. */
export const onBrokenText =
  "of your own pictures those that cannot be read: skip them, or stop and train nothing";

/** What `--device-data` may be, for help texts. */
export const deviceDataText =
  "bytes up to which your own pictures stay on the device, such as 500MB or 2GB; of more, batches " +
  "are read from disk while it computes; auto: twice its largest buffer, without a GPU 2GB";

/**
 * The bytes that `--device-data` stands for on the backend that is selected.
 * @throws {UserError} if it is neither `auto` nor a number of bytes.
 */
export function deviceDataBytes(text: string): number {
  if (text === "auto") return currentGpu() ? 2 * bufferLimit() : 2e9;
  const [, digits, unit = ""] = /^(\d{1,12}(?:\.\d{1,3})?)(|[kKMGT]B?|B)$/.exec(text) ?? [];
  const factor = { "": 1, B: 1, K: 1e3, M: 1e6, G: 1e9, T: 1e12 }[unit.toUpperCase().slice(0, 1)];
  if (digits !== undefined && factor !== undefined) return Math.floor(Number(digits) * factor);
  throw new UserError(
    `Option --device-data cannot be "${text}"; give bytes, such as 500MB or 2GB, or auto.`,
  );
}

/**
 * The data set of a configuration, from `--data` where given.
 * @param onNotice told what a person should know, a sentence each
 * @param isShown whether progress is
 */
export async function loadRunData(
  config: RunConfig,
  { data, md5, onBroken = "skip", deviceData = "auto" }: DataOptions,
  onNotice: (text: string) => void,
  isShown = true,
): Promise<ImageDataset> {
  const choices = { skip: "skip", stop: "stop" } as const;
  const broken = oneOf("--on-broken", onBroken, choices);
  const { onProgress, stop } = isShown
    ? showDataProgress()
    : { onProgress: () => {}, stop: () => {} };
  try {
    return await loadDataset({
      ...{ ...config, data, md5, root: dataRoot, onBroken: broken, onProgress },
      deviceData: deviceDataBytes(deviceData),
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
