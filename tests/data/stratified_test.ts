import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { drawSplits } from "../../lib/data/stratified.ts";

/** Labels sorted by class: so many records of each. */
function sorted(...counts: number[]): number[] {
  return counts.flatMap((count, label) => new Array<number>(count).fill(label));
}

function countsOf(labels: number[], indices: Int32Array): number[] {
  const counts = new Array<number>(Math.max(...labels) + 1).fill(0);
  for (const index of indices) counts[labels[index]!]!++;
  return counts;
}

const tenths = { seed: 1, validationSplit: 0.1, testSplit: 0.2 };

Deno.test("each class gives its share, and every record is in one split", () => {
  const labels = sorted(100, 40, 10);
  const { train, validation, test } = drawSplits(labels, { train: 150 }, tenths);
  assertEquals(countsOf(labels, validation), [10, 4, 1]);
  assertEquals(countsOf(labels, test), [20, 8, 2]);
  assertEquals(countsOf(labels, train), [70, 28, 7]);
  const all = [...train, ...validation, ...test].sort((a, b) => a - b);
  assertEquals(all, Array.from({ length: 150 }, (_, i) => i));
});

Deno.test("what is held out is drawn, not a tail, and the seed decides it", () => {
  const labels = sorted(100);
  const { validation } = drawSplits(labels, { train: 100 }, tenths);
  assert([...validation].some((index) => index < 80));
  assertEquals(drawSplits(labels, { train: 100 }, tenths).validation, validation);
  const other = drawSplits(labels, { train: 100 }, { ...tenths, seed: 2 });
  assertNotEquals(other.validation, validation);
});

Deno.test("a class of few records keeps one to train on, and lends what it can", () => {
  const labels = sorted(1, 2, 3, 4);
  const { train, validation, test } = drawSplits(labels, { train: 10 }, tenths);
  assertEquals(countsOf(labels, train), [1, 1, 1, 2]);
  assertEquals(countsOf(labels, validation), [0, 1, 1, 1]);
  assertEquals(countsOf(labels, test), [0, 0, 1, 1]);
});

Deno.test("splits that are given stay as they are", () => {
  const labels = [0, 1, 0, 1, 1, 0];
  const given = drawSplits(labels, { train: 2, validation: 2, test: 2 }, tenths);
  assertEquals(given.train, Int32Array.of(0, 1));
  assertEquals(given.validation, Int32Array.of(2, 3));
  assertEquals(given.test, Int32Array.of(5, 4));
});

Deno.test("records are dealt class by class, and the broken ones are left out", () => {
  const labels = [0, 0, 0, -1, 1, 1, 2];
  const none = { seed: 1, validationSplit: 0, testSplit: 0 };
  const { train } = drawSplits(labels, { train: 7 }, none);
  assertEquals([...train], [0, 4, 6, 1, 5, 2]);
});
