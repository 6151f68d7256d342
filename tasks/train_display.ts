/** What a person sees of training: a line that renews itself on a terminal, else a line now and then. */
import type { Metrics } from "../lib/train/metrics.ts";
import type { EpochRecord, StepEvent } from "../lib/train/events.ts";
import { formatEpoch, formatProgress } from "../lib/report/progress.ts";
import type { RunConfig } from "../lib/config/run.ts";
import { onTerminal } from "./cli.ts";

/** Milliseconds between two plain lines where the output is no terminal. */
const PLAIN_INTERVAL = 30_000;
/** Weight of the newest reading in the running mean of the time per step. */
const SMOOTHING = 0.1;

/** Prints the progress of a run; all times are wall-clock milliseconds. */
export class TrainDisplay {
  private readonly terminal = onTerminal();
  private lastTime = performance.now();
  private lastStep: number | null = null;
  private msPerStep = NaN;
  private epochStart = performance.now();
  private epochFirstStep = 0;
  private printed = performance.now();

  constructor(private readonly config: RunConfig, private readonly json: boolean) {}

  /** Called when training starts or goes on, so that set-up is not counted as a step's time. */
  start(step: number): void {
    this.lastTime = this.epochStart = performance.now();
    this.lastStep = this.epochFirstStep = step;
  }

  step(event: StepEvent): void {
    const now = performance.now();
    const steps = event.step - (this.lastStep ?? event.step - 1);
    const ms = (now - this.lastTime) / Math.max(1, steps);
    // The first steps compile shaders; their time must not colour the estimate for long.
    const first = Number.isNaN(this.msPerStep) || event.step - this.epochFirstStep <= 3;
    this.msPerStep = first ? ms : (1 - SMOOTHING) * this.msPerStep + SMOOTHING * ms;
    this.lastTime = now;
    this.lastStep = event.step;
    if (this.json) return;
    if (!this.terminal && now - this.printed < PLAIN_INTERVAL) return;
    this.printed = now;
    const left = event.epochs * event.stepsPerEpoch - event.step;
    this.line(formatProgress({
      epoch: event.epoch,
      epochs: event.epochs,
      step: event.stepInEpoch,
      steps: event.stepsPerEpoch,
      msPerStep: this.msPerStep,
      imagesPerSecond: this.config.batchSize / this.msPerStep * 1000,
      secondsLeft: left * this.msPerStep / 1000,
      metrics: { loss: event.loss, accuracy: event.accuracy, top5: event.top5 },
    }));
  }

  evaluation(what: string, done: number, count: number): void {
    if (this.terminal && !this.json) this.line(`${what} ${done}/${count}`);
  }

  /** Prints the line of a finished epoch; returns its seconds, validation included. */
  epoch(record: EpochRecord, isBest: boolean): number {
    const now = performance.now();
    const seconds = (now - this.epochStart) / 1000;
    const steps = record.step - this.epochFirstStep;
    this.epochStart = this.lastTime = now;
    this.epochFirstStep = record.step;
    if (this.json) {
      console.log(JSON.stringify({ ...record, seconds }));
      return seconds;
    }
    this.clear();
    console.log(
      formatEpoch({
        epoch: record.epoch,
        epochs: this.config.epochs,
        steps,
        seconds,
        msPerStep: this.msPerStep,
        imagesPerSecond: this.config.batchSize / this.msPerStep * 1000,
        metrics: {
          loss: record.loss,
          accuracy: record.accuracy,
          top5: record.top5,
          val_loss: record.valLoss,
          val_accuracy: record.valAccuracy,
          val_top5: record.valTop5,
        },
      }) + (isBest ? "  (best)" : ""),
    );
    return seconds;
  }

  /** The line of a final evaluation. */
  result(name: string, metrics: Metrics): void {
    this.clear();
    console.log(
      this.json
        ? JSON.stringify({ [name]: pick(metrics) })
        : `${name}: loss ${metrics.loss.toFixed(4)}  top-1 ${percent(metrics.accuracy)}  ` +
          `top-5 ${percent(metrics.top5)}`,
    );
  }

  private line(text: string): void {
    if (!this.terminal) return console.log(text);
    const { columns } = Deno.consoleSize();
    this.write(`\r\x1b[2K${text.slice(0, columns - 1)}`);
  }

  private clear(): void {
    if (this.terminal && !this.json) this.write("\r\x1b[2K");
  }

  private write(text: string): void {
    Deno.stdout.writeSync(new TextEncoder().encode(text));
  }
}

/** 0.5514 as `55.14 %`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

function pick({ loss, accuracy, top5 }: Metrics): Metrics {
  return { loss, accuracy, top5 };
}
