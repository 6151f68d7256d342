/** The events of a run, from the callbacks that `trainRun` takes as yet. */
import { readHistory } from "../lib/checkpoint/run_folder.ts";
import type { RunConfig } from "../lib/config/run.ts";
import type { RunEvent } from "../lib/train/events.ts";
import { stepsPerEpoch } from "../lib/train/fit.ts";
import type { RunOptions } from "../lib/train/run.ts";

type Callbacks = Pick<
  RunOptions,
  "onStep" | "onValidation" | "onEpoch" | "onTest" | "onSave" | "onNotice"
>;

/** Callbacks that pass on what they are told as events. */
export function eventCallbacks(
  config: RunConfig,
  trainCount: number,
  step: number,
  onEvent: (event: RunEvent) => void,
): Callbacks {
  const { epochs, learningRate } = config;
  onEvent({ type: "start", step, epochs, stepsPerEpoch: stepsPerEpoch(config, trainCount) });
  let epochStart = performance.now();
  return {
    onStep: (event) => onEvent({ type: "step", ...event }),
    onValidation: (done, count) => onEvent({ type: "validation", done, count }),
    onTest: (done, count) => onEvent({ type: "test", done, count }),
    onSave: (step) => onEvent({ type: "save", step }),
    onNotice: (text) => onEvent({ type: "notice", text }),
    onEpoch: (record, isBest) => {
      const seconds = (performance.now() - epochStart) / 1000;
      epochStart = performance.now();
      const date = new Date().toISOString().replace(/\.\d+/, "");
      onEvent({ type: "epoch", record: { ...record, learningRate, seconds, date }, isBest });
    },
  };
}

/** The epoch whose weights are the best; null for no history. */
export async function bestEpoch(
  history: string,
): Promise<{ epoch: number; valAccuracy: number | null } | null> {
  let best: { epoch: number; valAccuracy: number | null } | null = null;
  for (const { epoch, valAccuracy = null } of await readHistory(history)) {
    // Without validation the newest weights are the best there are.
    if (best && valAccuracy !== null && valAccuracy <= best.valAccuracy!) continue;
    best = { epoch, valAccuracy };
  }
  return best;
}
