/** A run's steps as lines for pages and event files, with their pace. */
import type { StepLine } from "../checkpoint/step_log.ts";
import type { RunConfig } from "../config/run.ts";
import { scheduleFactor } from "../optim/schedules.ts";
import { Pace } from "../report/pace.ts";
import type { Clock } from "./clock.ts";
import type { RunEvent, StepEvent } from "./events.ts";

/** Turns the events of a run into lines. */
export class StepRecorder {
  private readonly pace = new Pace();
  private seen = { epoch: 0, images: 0 };

  constructor(
    private readonly config: RunConfig,
    private readonly clock: Clock,
    private readonly lines: { isDue: boolean; write(line: StepLine): void },
  ) {}

  /** Writes a line where the event is a step and one is due. */
  handle(event: RunEvent): void {
    const { pace, clock } = this;
    if (event.type === "start") pace.begin(event.step, clock.now());
    if (event.type === "epoch") pace.begin(event.line.step, clock.now());
    if (event.type !== "step") return;
    const { epoch, imagesSeen, step } = event;
    const before = this.seen.epoch === epoch ? this.seen.images : 0;
    this.seen = { epoch, images: imagesSeen };
    pace.step(step, imagesSeen - before, clock.now());
    const isLast = event.stepInEpoch === event.stepsPerEpoch;
    if (isLast || this.lines.isDue) this.lines.write(this.lineOf(event));
  }

  private lineOf(event: StepEvent): StepLine {
    const { config, pace, clock } = this;
    const { step, stepInEpoch, stepsPerEpoch, loss, accuracy, top5 } = event;
    const factor = scheduleFactor(config, step - 1, stepsPerEpoch);
    return {
      step,
      at: event.epoch - 1 + stepInEpoch / stepsPerEpoch,
      ...{ stepsPerEpoch, loss, accuracy, top5 },
      learningRate: config.learningRate * factor,
      imagesPerSecond: pace.speed?.imagesPerSecond ?? null,
      secondsLeft: pace.secondsFor(event.epochs * stepsPerEpoch - step),
      time: clock.date().getTime(),
    };
  }
}
