/** A run's history: `history.jsonl`, one line an epoch, in order. */
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";
import { openInPlace, readBounded, readBoundedFile, writeFileAtomic, writeFull } from "../files.ts";
import { ioError, isAbsent } from "../io_error.ts";

// JSON has no NaN, and a run that diverged has such losses.
const metric = z.number().nullable();

const lineSchema = z.looseObject({
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
  emaValLoss: metric.optional(),
  emaValAccuracy: metric.optional(),
  emaValTop5: metric.optional(),
  learningRate: z.number().optional(),
  /** Wall-clock seconds of the epoch, validation included. */
  seconds: z.number().optional(),
});

/** One epoch in `history.jsonl`; other fields may stand beside these. */
export type HistoryLine = z.infer<typeof lineSchema>;

/** A hundred thousand epochs; no run is so long. */
const maxHistoryBytes = 1 << 25;

/**
 * Appends one line to a history and syncs it. What a crash or a failed append has left is cut off
 * first: half a last line, and those of this epoch or a later one.
 * @throws {UserError} if the file cannot be written, or is a link.
 */
export async function appendHistory(path: string, line: HistoryLine): Promise<void> {
  try {
    using file = await openInPlace(path);
    const { size } = await file.stat();
    const bytes = await readBounded(file, size, maxHistoryBytes, path, "a history");
    const kept = bytesBefore(bytes, line.epoch);
    await file.truncate(kept);
    await file.seek(kept, Deno.SeekMode.Start);
    await writeFull(file, new TextEncoder().encode(JSON.stringify(line) + "\n"));
    await file.sync();
  } catch (error) {
    throw ioError(error, "write", path);
  }
}

/** Number of bytes that the whole lines of earlier epochs take. */
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

/** Epoch of a line; NaN where it is none of a history. */
function epochOf(bytes: Uint8Array): number {
  try {
    return lineSchema.parse(JSON.parse(new TextDecoder().decode(bytes))).epoch;
  } catch {
    return NaN;
  }
}

/**
 * Reads a history; an absent file is an empty one, and half a last line is left out.
 * @throws {UserError} naming the line that is wrong or out of order, or if the file has over 32 MiB.
 */
export async function readHistory(path: string): Promise<HistoryLine[]> {
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
  return lines.map((written, index) => {
    const wrong = (what: string) =>
      new UserError(`Line ${index + 1} of ${path} ${what}; remove that line or the file.`);
    let line: HistoryLine;
    try {
      line = lineSchema.parse(JSON.parse(written));
    } catch {
      throw wrong("is none of a history");
    }
    if (line.epoch <= before) {
      throw wrong(`is of epoch ${line.epoch}, after a line of epoch ${before}`);
    }
    before = line.epoch;
    return line;
  });
}

/**
 * Drops the lines after `epoch`: a run that resumes from a state writes them again.
 * @param epoch the last epoch to keep, counted from 1
 */
export async function rewindHistory(path: string, epoch: number): Promise<void> {
  const lines = await readHistory(path);
  const kept = lines.filter((line) => line.epoch <= epoch);
  if (kept.length === lines.length) return;
  const text = kept.map((line) => JSON.stringify(line) + "\n").join("");
  await writeFileAtomic(path, [new TextEncoder().encode(text)]);
}
