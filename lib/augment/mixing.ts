/**
 * How a batch is mixed: with which of the list's mixing augmentations, if any, how much, and where.
 * It is drawn once a batch, so that a step has few numbers to be told.
 */
import { UserError } from "../errors.ts";
import { randomBeta, randomUniform, streamKey, streams } from "../random.ts";
import type { Mix, MixAugmentation, Parameter } from "./augmentation.ts";
import type { Listed } from "./listed.ts";

/** A batch that stays as it is. */
export const unmixed: Mix = { share: 1, box: [0, 0, 0, 0] };

/** The numbers in the brackets of each mixing augmentation. */
export const mixParameters: readonly Parameter[] = [
  { name: "alpha", min: 0.01, max: 100 },
  { name: "probability", min: 0, max: 1, optional: true },
];

/** The share of its own label that an image keeps, 0 to 1: that of its own pixels, by weight. */
export function labelShareOf({ share, box: [left, top, right, bottom] }: Mix, size: number) {
  return share * (1 - (right - left) * (bottom - top) / size ** 2);
}

/**
 * The probability of each mixing augmentation of a list; those that name none have the rest in equal
 * parts.
 * @throws {UserError} when they sum to more than 1, or leave nothing to one that names none.
 */
export function probabilitiesOf(mixes: readonly Listed<MixAugmentation>[]): number[] {
  const given = mixes.map(({ values: [, probability] }) => probability);
  const sum = given.reduce<number>((total, probability = 0) => total + probability, 0);
  // Tenths do not sum exactly.
  if (sum > 1 + 1e-9) {
    const names = mixes.map(({ name }) => name).join(" and ");
    throw new UserError(
      `The probabilities of ${names} sum to ${
        Number(sum.toPrecision(6))
      }, and one batch is mixed ` +
        `once; choose numbers that sum to at most 1.`,
    );
  }
  const rest = (1 - sum) / given.filter((probability) => probability === undefined).length;
  return given.map((probability, i) => {
    if (probability === undefined && rest < 1e-9) {
      throw new UserError(
        `The augmentation ${mixes[i]!.name} would never be used: the probabilities beside it sum ` +
          `to 1; lower them, or leave it out.`,
      );
    }
    return probability ?? rest;
  });
}

/** Options of {@linkcode drawMix}. */
export interface MixOptions {
  seed: number;
  step: number;
  /** Side of the images in pixels. */
  size: number;
  /** Of which a batch takes one at most. */
  mixes: readonly Listed<MixAugmentation>[];
}

/** How the batch of a step is mixed; a function of seed, step and list alone. */
export function drawMix({ seed, step, size, mixes }: MixOptions): Mix {
  const key = streamKey(seed, streams.mixing, step);
  const chance = randomUniform(key, 0);
  let below = 0;
  for (const [i, probability] of probabilitiesOf(mixes).entries()) {
    below += probability;
    if (chance >= below) continue;
    const { augmentation, values: [alpha] } = mixes[i]!;
    const share = randomBeta(streamKey(seed, streams.mixShare, step), alpha!);
    return augmentation.mix(share, (n) => randomUniform(key, 1 + n), size);
  }
  return unmixed;
}
