/** What a page is told of one run, from the files in its folder alone. */
import { openRunFolder, type RunFolder, runFolder } from "../../checkpoint/run_folder.ts";
import { stepLogPath, stripPath } from "../../checkpoint/step_log.ts";
import { readTestResults, testResultsPath } from "../../checkpoint/test_results.ts";
import { lockPath } from "../../checkpoint/lock.ts";
import type { RunConfig } from "../../config/run.ts";
import { type ReferenceCurve, referenceCurve } from "../reference_curves.ts";
import { Tail } from "./tail.ts";

/** What is told of a run; `epochs` and `steps` are all where `isNew`, else what has come since. */
export interface RunNews {
  index: number;
  isNew: boolean;
  /** Name of the folder. */
  name: string;
  /** What becomes of it, a sentence. */
  status: string;
  isRunning: boolean;
  /** Steps done, and of the whole run; 0 where that is not known. */
  step: number;
  total: number;
  epochCount: number;
  config: RunConfig | null;
  reference: ReferenceCurve | null;
  test: { loss: number | null; accuracy: number; top5: number } | null;
  /** Changes with the picture of training images; null where there is none. */
  strip: string | null;
  hasReport: boolean;
  /** Lines of `history.jsonl`. */
  epochs: Record<string, unknown>[];
  /** Lines of `steps.jsonl`. */
  steps: Record<string, unknown>[];
}

/** Seconds without a sign after which a run that has not ended may have been killed. */
const silence = 120;

/** Looks at a run's files again and again. */
export class RunWatch {
  private readonly run: RunFolder;
  private readonly history: Tail;
  private readonly stepLog: Tail;
  private epochs: Record<string, unknown>[] = [];
  private steps: Record<string, unknown>[] = [];
  private config: RunConfig | null = null;
  private configured: number | null = null;
  private fault: string | null = null;
  private tested: number | null = null;
  private test: RunNews["test"] = null;
  private told = "";

  constructor(path: string, private readonly index: number) {
    this.run = runFolder(path);
    this.history = new Tail(this.run.history);
    this.stepLog = new Tail(stepLogPath(this.run));
  }

  /** The folder of the run. */
  get path(): string {
    return this.run.path;
  }

  /** Reads what is new; null for nothing. */
  async poll(now: number): Promise<RunNews | null> {
    await this.readConfig();
    const [epochs, steps] = [await this.history.read(), await this.stepLog.read()];
    const isNew = (epochs?.isNew ?? false) || (steps?.isNew ?? false);
    this.epochs = joined(this.epochs, epochs);
    this.steps = joined(this.steps, steps);
    await this.readTest();
    const state = await this.state(now);
    const told = JSON.stringify(state);
    if (!epochs && !steps && told === this.told) return null;
    this.told = told;
    return {
      ...{ ...state, isNew },
      epochs: isNew ? this.epochs : epochs?.lines ?? [],
      steps: isNew ? this.steps : steps?.lines ?? [],
    };
  }

  /** All that is known, for a page that has just come. */
  async whole(now: number): Promise<RunNews> {
    return { ...await this.state(now), isNew: true, epochs: this.epochs, steps: this.steps };
  }

  private async state(now: number): Promise<Omit<RunNews, "isNew" | "epochs" | "steps">> {
    const { config, index, run, test } = this;
    const [lock, strip, report] = await Promise.all(
      [lockPath(run.path), stripPath(run), `${run.path}/report.html`].map(timeOf),
    );
    const last = [this.epochs, this.steps].map((lines) => Number(lines.at(-1)?.step ?? 0));
    const step = Math.max(...last);
    const perEpoch = this.perEpoch();
    const sign = Math.max(lock ?? 0, this.history.modified ?? 0, this.stepLog.modified ?? 0);
    const silent = Math.round((now - sign) / 1000);
    const epochCount = config?.epochs ?? 0;
    const status = this.fault ??
      (lock !== null
        ? silent > Math.max(silence, 3 * this.longestWait())
          // Whole minutes, or each look would be news.
          ? `No sign of it for ${Math.floor(silent / 60)} minutes; it may have been killed`
          : this.epochs.length === epochCount && epochCount > 0
          ? "Testing"
          : "Training"
        : test
        ? "Complete"
        : step === 0
        ? "Not begun"
        : this.epochs.length >= epochCount
        ? "Trained; not tested"
        : `Stopped at step ${step}; go on with --resume`);
    return {
      ...{
        index,
        name: run.path.slice(run.path.lastIndexOf("/") + 1),
        config,
        test,
        step,
        epochCount,
      },
      status: status + (this.history.damaged > 0 ? `; ${this.history.damaged} damaged lines` : ""),
      isRunning: lock !== null && silent <= Math.max(silence, 3 * this.longestWait()),
      total: perEpoch * epochCount,
      reference: config && (referenceCurve(config) ?? null),
      strip: strip === null ? null : String(strip),
      hasReport: report !== null,
    };
  }

  private perEpoch(): number {
    const step = this.steps.at(-1);
    if (typeof step?.stepsPerEpoch === "number") return step.stepsPerEpoch;
    const line = this.epochs.at(-1);
    return line ? Number(line.step) / Number(line.epoch) || 0 : 0;
  }

  /** Seconds between the last two signs of life. */
  private longestWait(): number {
    const [a, b] = this.steps.slice(-2).map(({ time }) => Number(time) || 0);
    return b === undefined ? 0 : Math.max(0, (b - a!) / 1000);
  }

  private async readConfig(): Promise<void> {
    const time = await timeOf(this.run.config);
    if (time === this.configured && (time !== null || this.fault !== null)) return;
    this.configured = time;
    try {
      this.config = (await openRunFolder(this.run.path)).config;
      this.fault = null;
    } catch (error) {
      // A folder may be about to become a run.
      this.config = null;
      this.fault = time === null ? "There is no run here yet" : (error as Error).message;
    }
  }

  private async readTest(): Promise<void> {
    const time = await timeOf(testResultsPath(this.run));
    if (time === this.tested) return;
    this.tested = time;
    const results = await readTestResults(this.run).catch(() => undefined);
    this.test = results
      ? { loss: results.loss, accuracy: results.accuracy, top5: results.top5 }
      : null;
  }
}

function joined(
  before: Record<string, unknown>[],
  news: { isNew: boolean; lines: Record<string, unknown>[] } | null,
): Record<string, unknown>[] {
  if (!news) return before;
  return news.isNew ? news.lines : [...before, ...news.lines];
}

/** When a file changed, in milliseconds; null where there is none. */
async function timeOf(path: string): Promise<number | null> {
  return await Deno.lstat(path).then(
    ({ isFile, mtime }) => isFile ? mtime?.getTime() ?? 0 : null,
    () => null,
  );
}
