/** What a person sees of training: a line that renews itself on a terminal, else one now and then. */
import type { EpochLine, RunEvent, StepEvent } from "../lib/train/events.ts";
import { Pace } from "../lib/report/pace.ts";
import type { Lines } from "./lines.ts";
import { formatDuration, formatEpoch, formatProgress } from "../lib/report/progress.ts";
import { sparkline } from "../lib/report/sparkline.ts";

/** Seconds of training that are worth a hint to a smaller model. */
const longRun = 3600;

/** Characters of the picture of val_accuracy. */
const sparkWidth = 12;

/** What the display is told of the run. */
export interface DisplayOptions {
  /** Whether the first step compiles kernels. */
  compiles?: boolean;
  /** Said once where training will take over an hour; it gets the time as `2d 07:33:20`. */
  hint?: (duration: string) => string;
  /** Aborted when the run is to end, from when on no hint helps. */
  signal?: AbortSignal;
}

/** Prints the progress of a run: with JSON an object an epoch, and nothing for people. */
export class TrainDisplay {
  private readonly pace = new Pace();
  private hasStepped = false;
  private hasHinted = false;
  private seen = { epoch: 0, images: 0 };
  private epochs = 0;
  private epochFirstStep = 0;
  private readonly valAccuracies: number[] = [];

  constructor(private readonly lines: Lines, private readonly options: DisplayOptions = {}) {}

  /** Shows what the run tells. */
  handle(event: RunEvent): void {
    switch (event.type) {
      case "start":
        return this.start(event.step, event.epochs);
      case "step":
        return this.step(event);
      case "validation":
        return this.lines.evaluation("Validating", event.done, event.count);
      case "features":
        return this.lines.evaluation("Computing features", event.done, event.count);
      case "test":
        return this.lines.evaluation("Testing", event.done, event.count);
      case "epoch":
        return this.epoch(event.line, event.isBest);
      case "notice":
        return this.lines.notice(event.text);
      case "save":
    }
  }

  private start(step: number, epochs: number): void {
    this.epochs = epochs;
    this.epochFirstStep = step;
    this.pace.begin(step, this.lines.now());
    if (this.options.compiles) {
      this.lines.progress("Compiling kernels; the first step takes longest …");
    }
  }

  private step(event: StepEvent): void {
    const { epoch, imagesSeen } = event;
    const before = this.seen.epoch === epoch ? this.seen.images : 0;
    this.seen = { epoch, images: imagesSeen };
    this.pace.step(event.step, imagesSeen - before, this.lines.now());
    const secondsLeft = this.pace.secondsFor(event.epochs * event.stepsPerEpoch - event.step);
    const isFirst = !this.hasStepped;
    this.hasStepped = true;
    this.suggest(secondsLeft);
    if (!isFirst && !this.lines.isProgressDue) return;
    const line = {
      epoch,
      epochs: event.epochs,
      step: event.stepInEpoch,
      steps: event.stepsPerEpoch,
      speed: this.pace.speed,
      secondsLeft,
      metrics: { loss: event.loss, accuracy: event.accuracy, top5: event.top5 },
    };
    this.lines.progress(formatProgress(line, this.lines.width));
  }

  private epoch(epoch: EpochLine, isBest: boolean): void {
    const { valAccuracy } = epoch;
    if (valAccuracy !== null) this.valAccuracies.push(valAccuracy);
    if (this.lines.json) this.lines.say(JSON.stringify(epoch));
    else {
      const line = {
        epoch: epoch.epoch,
        epochs: this.epochs,
        steps: epoch.step - this.epochFirstStep,
        seconds: epoch.seconds,
        speed: this.pace.speed,
        metrics: {
          loss: epoch.loss,
          accuracy: epoch.accuracy,
          top5: epoch.top5,
          val_loss: epoch.valLoss,
          val_accuracy: epoch.valAccuracy,
          val_top5: epoch.valTop5,
          ema_val_loss: epoch.emaValLoss ?? null,
          ema_val_accuracy: epoch.emaValAccuracy ?? null,
          ema_val_top5: epoch.emaValTop5 ?? null,
        },
        isBest,
        ...(this.lines.isTerminal && this.valAccuracies.length > 1 && {
          spark: sparkline(this.valAccuracies, sparkWidth),
        }),
      };
      this.lines.remark(formatEpoch(line, this.lines.width));
    }
    this.epochFirstStep = epoch.step;
    this.pace.begin(epoch.step, this.lines.now());
  }

  /** A smaller model, once, where training will take long. */
  private suggest(secondsLeft: number | null): void {
    const { hint, signal } = this.options;
    if (
      !hint || this.hasHinted || signal?.aborted || secondsLeft === null || secondsLeft <= longRun
    ) return;
    this.hasHinted = true;
    this.lines.notice(hint(formatDuration(secondsLeft)));
  }
}
