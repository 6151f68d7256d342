/**
 * Whether what a checkpoint says can be true. Checksums show that a file is as it was written;
 * these checks show that it was written by a run: its numbers fit each other, its configuration and
 * its tensors. What they let through trains on for as long and in as much memory as its
 * configuration says.
 *
 * What only looks wrong is let through: a run may be told to end earlier than it stands, so its
 * epoch may be beyond its last, and versions before 0.2 could lose a line of the history.
 */
import { trainingCount } from "../data/dataset.ts";
import { preprocessingFault } from "../data/preprocessing.ts";
import { UserError } from "../errors.ts";
import { shown } from "../shown.ts";
import { architectureOf } from "../models/architecture.ts";
import { adapterShapes } from "../models/lora.ts";
import { isTrained } from "../models/trained.ts";
import type { HistoryLine } from "./history.ts";
import type { TensorEntry } from "./safetensors_header.ts";
import type { WeightsState } from "./training_state.ts";

/** Description that a checkpoint gives beside its tensors. */
export type Described = Omit<WeightsState, "weights">;

/** The names of a state's moments, before those of their weights. */
export const momentPrefixes = { first: "optimizer.m.", second: "optimizer.v." } as const;

/** The name of a weight's running average, before its own. */
export const averagePrefix = "ema.";

/** The most characters of a class's name, of a data set's and of a library's. */
const maxName = 1000;

/**
 * Checks what a checkpoint says of its run against itself.
 * @param path named in the error
 * @throws {UserError} naming the first field that contradicts another, and both values.
 */
export function checkDescription(described: Described, path: string): void {
  for (const contradiction of contradictions(described)) throw refusal(path, contradiction);
}

function* contradictions(state: Described): Generator<string> {
  const { config, step, epoch, positionInEpoch, skippedSteps = 0, dataset } = state;
  if (state.seed !== config.seed) {
    yield `its seed is ${state.seed}, that of its configuration ${config.seed}`;
  }
  const { trainCount, validationCount } = dataset;
  const images = trainingCount(trainCount, config, validationCount !== undefined);
  if (images < 1) {
    yield `trainCount ${trainCount} with limit ${config.limit} and validationSplit ` +
      `${config.validationSplit} leaves no image to train on`;
  }
  const perEpoch = Math.ceil(images / config.batchSize);
  if (positionInEpoch > perEpoch) {
    yield `its positionInEpoch is ${positionInEpoch}, but an epoch has ${perEpoch} steps ` +
      `(${images} images, batchSize ${config.batchSize})`;
  }
  if (step !== epoch * perEpoch + positionInEpoch) {
    yield `its step is ${step}, but epoch ${epoch} of ${perEpoch} steps and positionInEpoch ` +
      `${positionInEpoch} make ${epoch * perEpoch + positionInEpoch}`;
  }
  const { epochsSinceBest = 0 } = state;
  if (epochsSinceBest > epoch) {
    yield `its epochsSinceBest is ${epochsSinceBest}, but its epoch ${epoch}`;
  }
  if (skippedSteps > step) yield `its skippedSteps is ${skippedSteps}, but its step ${step}`;
  const best = state.bestValAccuracy;
  if (best !== -1 && !(best >= 0 && best <= 1)) {
    yield `its bestValAccuracy is ${best}, but an accuracy is 0 to 1, and -1 where there is none`;
  }
  yield* sumContradictions(state, Math.min(positionInEpoch * config.batchSize, images));
  yield* preprocessingContradictions(state);
  const { classNames } = state;
  if (classNames.length > config.numClasses) {
    yield `it has ${classNames.length} classNames, but numClasses is ${config.numClasses}`;
  }
  const names = {
    classNames,
    "dataset.name": [dataset.name],
    "dataset.identity": [dataset.identity],
    versions: Object.values(state.versions),
    computedOn: Object.values(state.computedOn ?? {}).flatMap((value) =>
      typeof value === "string" ? value : Object.entries(value).flat()
    ),
  };
  for (const [field, texts] of Object.entries(names)) {
    const long = texts.find((text) => text.length > maxName);
    if (long === undefined) continue;
    yield `its ${field} ${shown(long)} has ${long.length} characters, but a name has at most ` +
      `${maxName}`;
  }
}

/** @param seen images of the current epoch that its steps have seen */
function* sumContradictions({ sums, positionInEpoch }: Described, seen: number): Generator<string> {
  const { loss, top1, top5, images, skipped = 0 } = sums;
  if (images !== seen) {
    yield `its sums.images is ${images}, but positionInEpoch ${positionInEpoch} has seen ${seen}`;
  }
  if (skipped > images) yield `its sums.skipped is ${skipped}, but sums.images ${images}`;
  const counted = images - skipped;
  if (!(top1 >= 0 && top1 <= top5)) yield `its sums.top1 is ${top1}, but sums.top5 ${top5}`;
  if (!(top5 <= counted)) yield `its sums.top5 is ${top5}, but the images in it are ${counted}`;
  // A loss that is as good as 0 may be rounded to less.
  if (!Number.isFinite(loss) || loss < -1e-3 * counted || (counted === 0 && loss !== 0)) {
    yield `its sums.loss is ${loss}, but the images in it are ${counted}, and a loss is finite and ` +
      `not below 0`;
  }
}

function* preprocessingContradictions({ preprocessing, config }: Described): Generator<string> {
  const { channels } = preprocessing;
  if (channels !== config.channels) {
    yield `its preprocessing.channels is ${channels}, but channels ${config.channels}`;
  }
  const fault = preprocessingFault(preprocessing);
  if (fault !== undefined) yield `its ${fault}`;
}

/**
 * Checks the tensors that a file's header declares against the configuration, before any is read:
 * exactly the model's weights, and for a whole state those of LoRA, which other files have merged, both
 * moments of each that is trained (or none at step 0) and, where the run keeps them, their running
 * averages.
 * @throws {UserError} naming the first tensor that is missing, too much, or of another shape.
 */
export function checkTensors(
  entries: readonly TensorEntry[],
  { config, step }: Pick<Described, "config" | "step">,
  kind: "state" | "weights",
  path: string,
): void {
  const refuse = (what: string) => {
    throw new UserError(
      `${path} is of another model than its configuration says: ${what}; use another checkpoint.`,
    );
  };
  // The names of a thousand million blocks would take longer than the answer.
  const { transformerLayers, transformerUnits, mlpHeadUnits } = config;
  const atLeast = transformerLayers * transformerUnits.length + mlpHeadUnits.length;
  if (atLeast > entries.length) {
    refuse(
      `it has ${entries.length} tensors, but ${transformerLayers} transformerLayers take more`,
    );
  }
  const plain = architectureOf(config).weights;
  const weights = kind === "state" ? new Map([...plain, ...adapterShapes(plain, config)]) : plain;
  const needed = new Map(weights);
  const { first, second } = momentPrefixes;
  const isMoment = (name: string) => name.startsWith(first) || name.startsWith(second);
  if (kind === "state" && (step > 0 || entries.some(({ name }) => isMoment(name)))) {
    for (const prefix of [first, second]) {
      for (const [name, shape] of weights) {
        if (isTrained(name, config)) needed.set(prefix + name, shape);
      }
    }
  }
  if (kind === "state" && config.ema > 0) {
    for (const [name, shape] of weights) needed.set(averagePrefix + name, shape);
  }
  for (const { name, dtype, shape } of entries) {
    const expected = needed.get(name);
    if (expected === undefined) {
      refuse(`it has a tensor ${shown(name)} [${shape}], and the model none`);
    }
    if (`${expected}` !== `${shape}`) {
      refuse(`its ${name} has the shape [${shape}], the model's [${expected}]`);
    }
    if (dtype !== "F32") refuse(`its ${name} is ${dtype}, the model's F32`);
    needed.delete(name);
  }
  for (const [name, shape] of needed) refuse(`it lacks ${name} [${shape}]`);
}

/**
 * Checks the numbers of one tensor.
 * @throws {UserError} naming the tensor and a number that is not finite, or a second moment below 0.
 */
export function checkNumbers(name: string, data: ArrayLike<number>, path: string): void {
  const isSquare = name.startsWith(momentPrefixes.second);
  let sum = 0;
  let least = 0;
  // In one pass without a branch on each number: NaN and infinity times 0 are NaN.
  for (let i = 0; i < data.length; i++) {
    const value = data[i]!;
    sum += value * 0;
    least = value < least ? value : least;
  }
  if (sum === 0 && !(isSquare && least < 0)) return;
  const wrong = Array.from(data).find((value) => !Number.isFinite(value)) ?? least;
  throw refusal(
    path,
    `its tensor ${name} holds ${wrong}, but a ${
      isSquare ? "second moment is finite and not below 0" : "weight or moment is finite"
    }`,
  );
}

/**
 * Checks that a history is that of a state's run. Lines after the state's epoch are let through, as
 * a run that goes on from an earlier state writes them again.
 * @param lines in their order, each epoch once
 * @throws {UserError} naming the line and what it contradicts.
 */
export function checkHistory(
  lines: readonly HistoryLine[],
  state: Described,
  path: string,
): void {
  const { config, dataset, epoch: ended, bestValAccuracy } = state;
  const bringsValidation = dataset.validationCount !== undefined;
  const images = trainingCount(dataset.trainCount, config, bringsValidation);
  const perEpoch = Math.ceil(images / config.batchSize);
  for (const [index, line] of lines.entries()) {
    const { epoch, step } = line;
    const wrong = (what: string) =>
      new UserError(
        `Line ${index + 1} of ${path} contradicts the state of its run: ${what}; remove the file ` +
          `to go on without the epochs before.`,
      );
    if (epoch > ended) return;
    if (step !== epoch * perEpoch) {
      throw wrong(
        `its step is ${step}, but ${epoch} epochs of ${perEpoch} steps make ${epoch * perEpoch}`,
      );
    }
    for (const key of ["valAccuracy", "emaValAccuracy"] as const) {
      if ((line[key] ?? -1) <= bestValAccuracy) continue;
      throw wrong(`its ${key} is ${line[key]}, but the best so far is ${bestValAccuracy}`);
    }
  }
}

function refusal(path: string, contradiction: string): UserError {
  return new UserError(`${path} contradicts itself: ${contradiction}; use another checkpoint.`);
}
