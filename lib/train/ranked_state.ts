/** The state of a run that several ranks train: begun as rank 0 has it, and the same ever after. */
import { createHash } from "node:crypto";
import type { tf } from "../tfjs.ts";
import { withGpuCheck } from "../backend/device.ts";
import type { Progress } from "../checkpoint/progress.ts";
import type { FloatTensor } from "../checkpoint/training_state.ts";
import { UserError } from "../errors.ts";
import { broadcastText, type Ranks, together } from "../distributed/ranks.ts";
import type { AdamW } from "../optim/adamw.ts";
import type { WeightAverage } from "../optim/weight_average.ts";
import { averageOf, readState, restoreState } from "./weights.ts";

/** What a run trains, as far as it is broadcast. */
export interface RankedState {
  /** By plain name, in the order of the layers. */
  variables: ReadonlyMap<string, tf.Variable>;
  /** Those of them that are not frozen. */
  trained: ReadonlyMap<string, tf.Variable>;
  optimizer: AdamW;
  /** Of the weights; rank 0's own, and that of the others comes from it. */
  average?: WeightAverage;
  /** Decay of the average; 0 for none. */
  ema: number;
  progress: Progress;
}

/**
 * Gives all ranks the weights, moments, average and progress of rank 0, so that only that one needs
 * the run's files.
 * @returns the average; of rank 0 its own
 */
export async function broadcastState(
  ranks: Ranks,
  { variables, trained, optimizer, average, ema, progress }: RankedState,
): Promise<WeightAverage | undefined> {
  const isFirst = ranks.rank === 0;
  const empty = (of: ReadonlyMap<string, tf.Variable>) =>
    new Map([...of].map(([name, { shape, size }]): [string, FloatTensor] => {
      return [name, { shape, data: new Float32Array(size) }];
    }));
  const state = isFirst ? await readState(variables, trained, optimizer, average) : {
    weights: empty(variables),
    moments1: empty(trained),
    moments2: empty(trained),
    ...(ema > 0 && { averages: empty(variables) }),
  };
  for (const tensors of [state.weights, state.moments1, state.moments2, state.averages]) {
    for (const { data } of tensors?.values() ?? []) ranks.broadcast(bytesOf(data), 0);
  }
  const { step, ...rest }: Progress = JSON.parse(broadcastText(ranks, JSON.stringify(progress)));
  if (isFirst) return average;
  Object.assign(progress, { step, ...rest });
  restoreState({ ...state, step }, variables, optimizer);
  return averageOf(variables, ema, state);
}

/**
 * Asserts that the ranks' weights are still equal: each updates its own, and nothing would show that
 * they have come apart.
 * @throws {FailedTogether} naming the first rank whose weights are others than rank 0's.
 */
export async function assertSameWeights(
  ranks: Ranks,
  variables: readonly tf.Variable[],
): Promise<void> {
  const read = await withGpuCheck(() =>
    Promise.all(variables.map((variable) => variable.data<"float32">()))
  );
  const hash = createHash("md5");
  for (const data of read) hash.update(bytesOf(data));
  const own = hash.digest("hex");
  const first = broadcastText(ranks, own);
  await together(ranks, () => {
    if (own === first) return;
    throw new UserError(
      `its weights, on ${ranks.processor}, are no longer those of rank 0: a device that computes ` +
        `wrongly, or another one; go on from the last state with --resume, on devices of one kind.`,
    );
  });
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
