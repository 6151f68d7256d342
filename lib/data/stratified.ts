/** Which records are learned from, held out and kept for the end, class by class. */
import { permutation, streamKey, streams } from "../random.ts";
import type { SplitCounts } from "./picture_set.ts";

/** How splits are drawn that a source does not give. */
export interface Shares {
  /** Seed of the draw, that of the run. */
  seed: number;
  /** Of each class, from 0 to below 1. */
  validationSplit: number;
  /** Of each class, from 0 to below 1. */
  testSplit: number;
}

/** The records of each split, by their indices. */
export interface DrawnSplits {
  train: Int32Array;
  validation: Int32Array;
  test: Int32Array;
}

/**
 * Splits records, which lie in the order train, validation, test. A split that the source does not
 * give is drawn from those of train: of each class its share, rounded, at least one where the class
 * has as many records as there are splits, and never the last one.
 *
 * Records of a split are dealt out class by class in turn (the first of every class, then the second
 * of every class, …), so that the first N of them are a fair sample.
 *
 * @param labels `[count]`; negative where there is no record
 */
export function drawSplits(
  labels: ArrayLike<number>,
  counts: SplitCounts,
  shares: Shares,
): DrawnSplits {
  const { train, validation, test } = counts;
  const range = (start: number, count: number) => byClass(labels, start, start + count);
  const drawn = range(0, train);
  const given = {
    validation: range(train, validation ?? 0),
    test: range(train + (validation ?? 0), test ?? 0),
  };
  const wanted = [
    { split: given.test, share: test === undefined ? shares.testSplit : 0 },
    { split: given.validation, share: validation === undefined ? shares.validationSplit : 0 },
  ].filter(({ share }) => share > 0);
  for (const [label, records] of drawn) {
    const order = permutation(records.length, streamKey(shares.seed, streams.split, label));
    const taken = new Set<number>();
    for (const [i, { split, share }] of wanted.entries()) {
      const least = records.length > wanted.length - i ? 1 : 0;
      const most = records.length - taken.size - 1;
      const count = Math.min(most, Math.max(least, Math.round(records.length * share)));
      const part = Array.from(order.subarray(taken.size, taken.size + count), (k) => records[k]!);
      for (const record of part) taken.add(record);
      split.set(label, part.sort((a, b) => a - b));
    }
    drawn.set(label, records.filter((record) => !taken.has(record)));
  }
  return { train: dealt(drawn), validation: dealt(given.validation), test: dealt(given.test) };
}

/** The records of a range by label, those without one left out. */
function byClass(labels: ArrayLike<number>, start: number, end: number): Map<number, number[]> {
  const records = new Map<number, number[]>();
  for (let i = start; i < end; i++) {
    const label = labels[i]!;
    if (label < 0) continue;
    const known = records.get(label);
    if (known) known.push(i);
    else records.set(label, [i]);
  }
  return records;
}

function dealt(records: Map<number, number[]>): Int32Array {
  const classes = [...records.keys()].sort((a, b) => a - b).map((label) => records.get(label)!);
  const longest = Math.max(0, ...classes.map(({ length }) => length));
  const order: number[] = [];
  for (let i = 0; i < longest; i++) {
    for (const each of classes) if (i < each.length) order.push(each[i]!);
  }
  return Int32Array.from(order);
}
