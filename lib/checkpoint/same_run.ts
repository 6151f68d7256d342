/** Changes that a run may be told of when it goes on, and those that would make it another run. */
import { modelFields } from "../config/model.ts";
import type { RunConfig } from "../config/run.ts";
import { trainingCount } from "../data/dataset.ts";
import { UserError } from "../errors.ts";
import { scheduleFactor, schedules } from "../optim/schedules.ts";
import type { DatasetIdentity } from "./training_state.ts";

/**
 * Fields that a resumed run may change: they decide when training ends, not its numbers. When it is
 * saved, what it prints and what it computes on are no fields, and may change too.
 */
export const resumableFields: readonly (keyof RunConfig)[] = ["epochs", "patience"];

const dataFields: readonly (keyof RunConfig)[] = [
  ...["dataset", "labels", "limit", "validationSplit", "testSplit", "storedSize", "fit"] as const,
  ...["resample", "cropShare"] as const,
];

/** Reason why a field must stay as it was. */
function reasonOf(key: keyof RunConfig): string {
  if (key === "seed") return "another seed is another order of images and other dropout";
  if (dataFields.includes(key)) return "it decides which images are trained on";
  if (/dropout|dropPath/i.test(key)) return "the steps done were taken with the old one";
  if (Object.hasOwn(modelFields, key)) return "the saved weights are of a model of that shape";
  return "the steps done were taken with the old one";
}

/**
 * Checks that training may go on from a state under a configuration.
 * @param mayDiffer fields in which the two may differ
 * @throws {UserError} naming the first field that differs, both values, and why it may not.
 */
export function checkConfig(
  state: { config: RunConfig },
  config: RunConfig,
  mayDiffer: readonly (keyof RunConfig)[] = resumableFields,
): void {
  for (const key of Object.keys(config) as (keyof RunConfig)[]) {
    const [saved, asked] = [JSON.stringify(state.config[key]), JSON.stringify(config[key])];
    if (saved === asked || mayDiffer.includes(key)) continue;
    throw new UserError(
      `The checkpoint is of another configuration: its ${key} is ${saved}, this run's is ${asked}, ` +
        `and ${reasonOf(key)}; leave ${key} at ${saved} or start a new run (--init-from takes ` +
        `weights along).`,
    );
  }
}

/**
 * Checks that the learning rate goes on where it stood. Under a schedule that ends with the run it
 * does not when `epochs` is another, unless the run has not begun.
 * @throws {UserError} naming both numbers of epochs and what the next step's rate is under each.
 */
export function checkSchedule(
  state: { config: RunConfig; dataset: DatasetIdentity; step: number },
  config: RunConfig,
): void {
  const { config: saved, dataset, step } = state;
  const { schedule, epochs } = config;
  if (epochs === saved.epochs || step === 0 || !schedules[schedule].followsEpochs) return;
  const bringsValidation = dataset.validationCount !== undefined;
  const images = trainingCount(dataset.trainCount, saved, bringsValidation);
  const perEpoch = Math.ceil(images / saved.batchSize);
  const rate = (at: RunConfig, shownStep: number) => {
    return (at.learningRate * scheduleFactor(at, shownStep, perEpoch)).toExponential(2);
  };
  const before = rate(saved, Math.min(step, saved.epochs * perEpoch - 1));
  throw new UserError(
    `With schedule ${schedule} the learning rate depends on epochs: the steps done followed the ` +
      `curve of ${saved.epochs}, and on that of ${epochs} the rate would jump from ${before} to ` +
      `${
        rate(config, Math.min(step, epochs * perEpoch - 1))
      }; leave epochs at ${saved.epochs}, or ` +
      `ask for the other curve with --reschedule.`,
  );
}

/**
 * Checks that training goes on with the data it began with.
 * @throws {UserError} naming both data sets.
 */
export function checkDataset(state: { dataset: DatasetIdentity }, dataset: DatasetIdentity): void {
  const describe = ({ name, identity, trainCount }: DatasetIdentity) =>
    `${name} (${trainCount} train records, checksum ${identity.slice(0, 12)})`;
  const saved = state.dataset;
  if (
    saved.name === dataset.name && saved.identity === dataset.identity &&
    saved.trainCount === dataset.trainCount
  ) return;
  throw new UserError(
    `The checkpoint was trained on other data: it saw ${describe(saved)}, this run has ` +
      `${describe(dataset)}; give it the same data or start a new run.`,
  );
}
