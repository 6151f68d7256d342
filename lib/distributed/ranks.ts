/** Processes that train one model: what each needs to know of the others, and to do with them. */
import { UserError } from "../errors.ts";

/** The process among its like. */
export interface Ranks {
  /** Of this process, from 0. */
  readonly rank: number;
  /** How many there are. */
  readonly size: number;
  /** The name of this process's machine. */
  readonly processor: string;
  /** Sums arrays of all ranks element by element, in place, to the same bits on each. */
  sum(values: Float32Array | Float64Array): void;
  /** Fills the bytes of all ranks with those of `root`. */
  broadcast(bytes: Uint8Array, root: number): void;
  /** Waits until all are here. */
  barrier(): void;
}

/** Elements below which an array is summed together with others: a call costs as much as they do. */
const SMALL = 1 << 16;

/**
 * Sums of the same arrays of all ranks, again and again: the large ones where they lie, the others as
 * one flat buffer, which is made once.
 */
export class ArraySums {
  private flat = new Float32Array(0);

  constructor(private readonly ranks: Ranks) {}

  /**
   * Sums them in place.
   * @param arrays of the same lengths on all ranks, in the same order
   */
  sum(arrays: readonly Float32Array[]): void {
    let length = 0;
    for (const array of arrays) if (array.length < SMALL) length += array.length;
    if (length !== this.flat.length) this.flat = new Float32Array(length);
    const { flat, ranks } = this;
    let at = 0;
    for (const array of arrays) {
      if (array.length >= SMALL) continue;
      flat.set(array, at);
      at += array.length;
    }
    ranks.sum(flat);
    at = 0;
    for (const array of arrays) {
      if (array.length < SMALL) array.set(flat.subarray(at, at += array.length));
      else ranks.sum(array);
    }
  }
}

/** The text that one rank has, on all of them; what others give is not used. */
export function broadcastText(ranks: Ranks, text: string, root = 0): string {
  const bytes = new TextEncoder().encode(ranks.rank === root ? text : "");
  const length = new Uint8Array(Float64Array.of(bytes.length).buffer);
  ranks.broadcast(length, root);
  const [count] = new Float64Array(length.buffer);
  const all = ranks.rank === root ? bytes : new Uint8Array(count!);
  ranks.broadcast(all, root);
  return new TextDecoder().decode(all);
}

/** The texts of all ranks, on all of them. */
export function gatherTexts(ranks: Ranks, text: string): string[] {
  return Array.from({ length: ranks.size }, (_, root) => broadcastText(ranks, text, root));
}

/**
 * A failure that all ranks know of, so that each throws it and one may tell it; the message names the
 * rank where it is one's alone.
 */
export class FailedTogether extends UserError {
  /** @param ofAll the messages of all ranks, "" for those that have not failed */
  constructor(ranks: Ranks, ofAll: readonly string[]) {
    const first = ofAll.findIndex((message) => message !== "");
    const message = ofAll[first]!;
    const isOfEach = ofAll.every((other) => other === message);
    super(isOfEach || ranks.size === 1 ? message : `Rank ${first}: ${message}`);
  }
}

/**
 * Does something on every rank, after which all go on, or none.
 * @throws {FailedTogether} on each where a UserError was thrown on some.
 */
export async function together<T>(ranks: Ranks, work: () => T | Promise<T>): Promise<T> {
  let outcome: { value: T } | undefined;
  let failure = "";
  try {
    outcome = { value: await work() };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    failure = error.message;
  }
  const failures = gatherTexts(ranks, failure);
  if (failures.some((message) => message !== "")) throw new FailedTogether(ranks, failures);
  return outcome!.value;
}

/**
 * Asserts that all ranks have what rank 0 has.
 * @param facts of this rank, by name; values are compared as JSON
 * @throws {FailedTogether} naming the first rank and fact that differ, and both values.
 */
export async function assertSame(
  ranks: Ranks,
  facts: Readonly<Record<string, unknown>>,
): Promise<void> {
  const first = JSON.parse(broadcastText(ranks, JSON.stringify(facts))) as Record<string, unknown>;
  await together(ranks, () => {
    for (const name of new Set([...Object.keys(first), ...Object.keys(facts)])) {
      const [expected, found] = [first[name], facts[name]].map((value) => JSON.stringify(value));
      if (expected === found) continue;
      throw new UserError(
        `${name} is ${found} on ${ranks.processor}, and ${expected} on rank 0; start all ranks ` +
          `with the same version, command line and data.`,
      );
    }
  });
}

/** This rank among those of its machine: 0 for the first. */
export function rankOnMachine(ranks: Ranks): { rank: number; size: number } {
  const processors = gatherTexts(ranks, ranks.processor);
  const isHere = (processor: string) => processor === ranks.processor;
  return {
    rank: processors.slice(0, ranks.rank).filter(isHere).length,
    size: processors.filter(isHere).length,
  };
}

/**
 * Does on every rank what its machine needs done once: the first rank first, which may leave
 * something where all find it, then the first rank of each other machine, then the rest.
 * @throws {FailedTogether} on each where a UserError was thrown on some.
 */
export async function inTurns<T>(ranks: Ranks, work: () => T | Promise<T>): Promise<T> {
  const { rank } = rankOnMachine(ranks);
  const own = ranks.rank === 0 ? 0 : rank === 0 ? 1 : 2;
  let outcome: { value: T } | undefined;
  for (const turn of [0, 1, 2]) {
    // All ranks come to each turn.
    const done = await together(ranks, async () => {
      return turn === own ? { value: await work() } : undefined;
    });
    outcome ??= done;
  }
  return outcome!.value;
}
