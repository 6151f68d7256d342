/**
 * What pages show of a run while an epoch is under way: `steps.jsonl`, a line now and then, and
 * `strip.png`, training images as the model sees them. Only for people: nothing is resumed from them,
 * and a run is whole without.
 */
import { ioError, isAbsent } from "../io_error.ts";
import { isPlainObject } from "../config/parse.ts";
import { writeFileAtomic } from "../files.ts";
import type { RunFolder } from "./run_folder.ts";

/** One line of `steps.jsonl`. */
export interface StepLine {
  /** Training steps done since the start of the run. */
  step: number;
  /** Epochs done, 2.5 in the middle of the third. */
  at: number;
  stepsPerEpoch: number;
  /** Means over the epoch so far; accuracies 0 to 1. */
  loss: number;
  accuracy: number;
  top5: number;
  learningRate: number;
  /** Null where too little was timed, as is the time left. */
  imagesPerSecond: number | null;
  secondsLeft: number | null;
  /** Milliseconds since 1970. */
  time: number;
}

/** Where a run's lines are. */
export function stepLogPath(run: RunFolder): string {
  return `${run.path}/steps.jsonl`;
}

/** Where a run's picture of training images is. */
export function stripPath(run: RunFolder): string {
  return `${run.path}/strip.png`;
}

/** Milliseconds between two lines at least, and the share of the run's time after that. */
const interval = { least: 1000, share: 1 / 1000 };

/**
 * Writes `steps.jsonl`. A line comes each second, and as the run gets older each thousandth of its
 * time, so that weeks of training make thousands of lines. Writing goes on beside the training, and
 * ends for good where it fails.
 */
export class StepLog {
  private writing: Promise<void>;
  private began: number;
  private lastTime = -Infinity;
  private hasFailed = false;
  private readonly path: string;

  /**
   * Begins to write; of an older file the lines after `step` are dropped, since they are done again.
   * @param now milliseconds of a clock that never goes back
   */
  constructor(run: RunFolder, step: number, private readonly now: () => number) {
    this.path = stepLogPath(run);
    this.began = now();
    this.writing = rewind(this.path, step).catch(() => void (this.hasFailed = true));
  }

  /** Whether it is time for a line. */
  get isDue(): boolean {
    if (this.hasFailed) return false;
    const now = this.now();
    const pause = Math.max(interval.least, interval.share * (now - this.began));
    return now - this.lastTime >= pause;
  }

  /** Writes a line, after those before it; does not wait. */
  write(line: StepLine): void {
    this.lastTime = this.now();
    const bytes = new TextEncoder().encode(JSON.stringify(line) + "\n");
    this.writing = this.writing.then(async () => {
      if (this.hasFailed) return;
      // A folder that is being removed must not fill again.
      await Deno.writeFile(this.path, bytes, { append: true, create: false });
    }).catch(() => void (this.hasFailed = true));
  }

  /** Waits until all is written. */
  settled(): Promise<void> {
    return this.writing;
  }
}

/** Drops the lines after a step, and what is no line; makes the file where it is missing. */
async function rewind(path: string, step: number): Promise<void> {
  const text = await Deno.readTextFile(path).catch((error) => {
    if (isAbsent(error)) return "";
    throw ioError(error, "read", path);
  });
  const kept = text.split("\n").filter((line) => stepOf(line) <= step).map((line) => `${line}\n`);
  await writeFileAtomic(path, [new TextEncoder().encode(kept.join(""))]);
}

function stepOf(text: string): number {
  try {
    const value: unknown = JSON.parse(text);
    return isPlainObject(value) && typeof value.step === "number" ? value.step : Infinity;
  } catch {
    return Infinity;
  }
}
