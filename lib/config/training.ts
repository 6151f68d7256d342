/** What the fields of training must be to each other. */
import { augmentationsOf, augmentTextOf } from "../augment/list.ts";
import { ofKind } from "../augment/listed.ts";
import { UserError } from "../errors.ts";
import { schedules } from "../optim/schedules.ts";
import type { RunConfig } from "./groups.ts";
import { nameOf, type Origin } from "./parse.ts";

/**
 * Checks the fields of training against each other.
 * @throws {UserError} naming both fields, their values and what would do.
 */
export function checkTraining(config: RunConfig, origin?: Origin): void {
  const name = (key: keyof RunConfig) => nameOf(key, origin);
  const { epochs, warmupEpochs, schedule, learningRate, learningRateFloor, patience } = config;
  const { batchSize, accumulate } = config;
  if (batchSize % accumulate !== 0) {
    const divisors = Array.from({ length: batchSize }, (_, i) => i + 1).filter((n) =>
      batchSize % n === 0
    );
    const nearest = [
      divisors.findLast((n) => n < accumulate),
      divisors.find((n) => n > accumulate),
    ].filter((n) => n !== undefined);
    throw new UserError(
      `${name("batchSize")} ${batchSize} cannot be taken in ${name("accumulate")} ${accumulate} ` +
        `parts of one size; choose ${nearest.join(" or ")} parts, or another batch.`,
    );
  }
  const { channels, channelMean, channelDeviation } = config;
  const counts = [channelMean.length, channelDeviation.length];
  if (counts.some((count) => count > 0) && counts.some((count) => count !== channels)) {
    throw new UserError(
      `${name("channelMean")} has ${counts[0]} numbers and ${name("channelDeviation")} ` +
        `${counts[1]}, and each must have one for each of ${channels} channels; give both or none.`,
    );
  }
  if (channelDeviation.includes(0)) {
    throw new UserError(
      `${name("channelDeviation")} ${channelDeviation} divides by 0; give numbers above it.`,
    );
  }
  if (warmupEpochs > epochs) {
    throw new UserError(
      `${name("warmupEpochs")} ${warmupEpochs} is longer than the run of ${name("epochs")} ` +
        `${epochs}; choose at most ${epochs}, and about ${epochs / 10} is usual.`,
    );
  }
  if (learningRateFloor > learningRate) {
    throw new UserError(
      `${name("learningRateFloor")} ${learningRateFloor} is above ${name("learningRate")} ` +
        `${learningRate}, the peak that the rate falls from; choose a lower one.`,
    );
  }
  if (learningRateFloor > 0 && !schedules[schedule].followsEpochs) {
    throw new UserError(
      `${name("learningRateFloor")} ${learningRateFloor} is never reached with ` +
        `${name("schedule")} ${schedule}; choose schedule cosine or linear, or leave it out.`,
    );
  }
  checkFrozen(config, name);
  const mixes = ofKind(augmentationsOf(config), "mix").map((listed) => listed.name);
  if (mixes.length > 0 && batchSize === 1) {
    throw new UserError(
      `${mixes.join(" and ")} cannot mix a batch of one image, as ${name("batchSize")} 1 makes ` +
        `them; choose a batch of 2 or more, or leave ${mixes.length > 1 ? "them" : "it"} out of ` +
        `${name("augment")}.`,
    );
  }
  if (mixes.length === 0 && config.mixEpochs > 0) {
    throw new UserError(
      `${name("mixEpochs")} ${config.mixEpochs} is when mixup and cutmix stop, and ` +
        `${name("augment")} has neither; add one, as in flip|mixup(0.8), or leave it out.`,
    );
  }
  if (patience > 0 && config.validationSplit === 0) {
    throw new UserError(
      `${name("patience")} ${patience} waits for a better val_accuracy, and ` +
        `${name("validationSplit")} 0 holds no images out; set validationSplit, 0.1 for example, ` +
        `or leave patience out.`,
    );
  }
}

/** Checks what is frozen, and what hangs on that. */
function checkFrozen(config: RunConfig, name: (key: keyof RunConfig) => string): void {
  const { freeze, transformerLayers, cacheFeatures } = config;
  if (Number(freeze) > transformerLayers) {
    throw new UserError(
      `${
        name("freeze")
      } ${freeze} is more than the model's ${transformerLayers} blocks; choose at ` +
        `most ${transformerLayers}, or backbone for all but the head.`,
    );
  }
  checkLora(config, name);
  if (!cacheFeatures) return;
  if (freeze === "none") {
    throw new UserError(
      `${name("cacheFeatures")} true keeps what a frozen part makes of each image, and ` +
        `${
          name("freeze")
        } none freezes nothing; choose freeze backbone, or leave cacheFeatures out.`,
    );
  }
  if (augmentationsOf(config).length > 0) {
    throw new UserError(
      `${name("cacheFeatures")} true computes each image's features once, and the augmentation ` +
        `${augmentTextOf(config)} makes another image of it at each step; choose ` +
        `${name("augment")} none, or leave cacheFeatures out.`,
    );
  }
}

/** Checks LoRA's rank, and that no other field says what is frozen. */
function checkLora(config: RunConfig, name: (key: keyof RunConfig) => string): void {
  const { lora, loraAlpha, projectionDim, numHeads, keyDim, freeze, cacheFeatures } = config;
  if (lora === 0) {
    if (loraAlpha === 0) return;
    throw new UserError(
      `${name("loraAlpha")} ${loraAlpha} scales what LoRA adds, and ${
        name("lora")
      } 0 adds nothing; ` +
        `choose a rank, lora 8 for example, or leave loraAlpha out.`,
    );
  }
  const most = Math.min(projectionDim, numHeads * keyDim);
  if (lora > most) {
    throw new UserError(
      `${name("lora")} ${lora} is above ${most}, the rank that the kernels of queries and values ` +
        `have themselves; choose at most ${most}, and 4 to 16 is usual.`,
    );
  }
  if (freeze !== "none" && freeze !== "backbone") {
    throw new UserError(
      `${name("freeze")} ${freeze} keeps some blocks, and ${
        name("lora")
      } ${lora} all of them but ` +
        `for what it adds; leave one of them out.`,
    );
  }
  if (cacheFeatures) {
    throw new UserError(
      `${name("cacheFeatures")} true keeps what a frozen part makes of each image, and ` +
        `${name("lora")} ${lora} trains from the first block on; leave one of them out.`,
    );
  }
}
