/** A run's history: `history.jsonl`, one record an epoch, in order. */
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";
import {
  ioError,
  isAbsent,
  openInPlace,
  readBounded,
  readBoundedFile,
  writeFileAtomic,
  writeFull,
} from "../files.ts";

// JSON has no NaN, and a run that diverged has such losses.
const metric = z.number().nullable();

const recordSchema = z.looseObject({
  /** From 1, as a person counts. */
  epoch: z.int().min(1),
  /** Optimizer steps since the run began. */
  step: z.int().min(0),
  loss: metric,
  /** 0 to 1, as all accuracies. */
  accuracy: metric,
  top5: metric,
  valLoss: metric.optional(),
  valAccuracy: metric.optional(),
  valTop5: metric.optional(),
  learningRate: z.number().optional(),
  /** Wall-clock seconds of the epoch, validation included. */
  seconds: z.number().optional(),
});

/** One epoch in `history.jsonl`; other fields may stand beside these. */
export type HistoryRecord = z.infer<typeof recordSchema>;

/** A hundred thousand epochs; no run is so long. */
const maxHistoryBytes = 1 << 25;

/**
 * Appends one record to a history and syncs it. What a crash or a failed append has left is cut off
 * first: half a last line, and records of this epoch or a later one.
 * @throws {UserError} if the file cannot be written, or is a link.
 */
export async function appendHistory(path: string, record: HistoryRecord): Promise<void> {
  try {
    using file = await openInPlace(path);
    const { size } = await file.stat();
    const bytes = await readBounded(file, size, maxHistoryBytes, path, "a history");
    const kept = bytesBefore(bytes, record.epoch);
    await file.truncate(kept);
    await file.seek(kept, Deno.SeekMode.Start);
    await writeFull(file, new TextEncoder().encode(JSON.stringify(record) + "\n"));
    await file.sync();
  } catch (error) {
    throw ioError(error, "write", path);
  }
}

/** How many bytes of a history its whole lines of earlier epochs take. */
function bytesBefore(bytes: Uint8Array, epoch: number): number {
  let end = bytes.lastIndexOf(lineFeed) + 1;
  while (end > 0) {
    const begin = end === 1 ? 0 : bytes.lastIndexOf(lineFeed, end - 2) + 1;
    if (!(epochOf(bytes.subarray(begin, end)) >= epoch)) return end;
    end = begin;
  }
  return end;
}

const lineFeed = 0x0a;

/** NaN where a line is no record. */
function epochOf(line: Uint8Array): number {
  try {
    return recordSchema.parse(JSON.parse(new TextDecoder().decode(line))).epoch;
  } catch {
    return NaN;
  }
}

/**
 * Reads a history; an absent file is an empty one, and half a last line is left out.
 * @throws {UserError} naming the line that is wrong or out of order, or if the file has over 32 MiB.
 */
export async function readHistory(path: string): Promise<HistoryRecord[]> {
  let text: string;
  try {
    text = new TextDecoder().decode(await readBoundedFile(path, maxHistoryBytes, "a history"));
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
  const lines = text.split("\n");
  // What follows the last line feed was not written whole, even if it parses.
  lines.pop();
  let before = 0;
  return lines.map((line, index) => {
    const wrong = (what: string) =>
      new UserError(`Line ${index + 1} of ${path} ${what}; remove that line or the file.`);
    let record: HistoryRecord;
    try {
      record = recordSchema.parse(JSON.parse(line));
    } catch {
      throw wrong("is no history record");
    }
    if (record.epoch <= before) {
      throw wrong(`is of epoch ${record.epoch}, after a line of epoch ${before}`);
    }
    before = record.epoch;
    return record;
  });
}

/**
 * Drops the records after `epoch`: a run that resumes from a state writes them again.
 * @param epoch the last epoch to keep, counted from 1
 */
export async function rewindHistory(path: string, epoch: number): Promise<void> {
  const records = await readHistory(path);
  const kept = records.filter((record) => record.epoch <= epoch);
  if (kept.length === records.length) return;
  const text = kept.map((record) => JSON.stringify(record) + "\n").join("");
  await writeFileAtomic(path, [new TextEncoder().encode(text)]);
}
