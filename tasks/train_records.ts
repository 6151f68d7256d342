/** What a training writes for people while it goes on: lines of its steps, a strip, event files. */
import { type RunFolder } from "../lib/checkpoint/run_folder.ts";
import { type StepLine, StepLog, stripPath } from "../lib/checkpoint/step_log.ts";
import { type Progress, startOfRun } from "../lib/checkpoint/progress.ts";
import type { RunConfig } from "../lib/config/run.ts";
import type { ImageDataset } from "../lib/data/dataset.ts";
import { writeFileAtomic } from "../lib/files.ts";
import { encodePng } from "../lib/report/encode_png.ts";
import { EventFile } from "../lib/report/tensorboard/event_file.ts";
import {
  writeConfiguration,
  writeEpoch,
  writeStep,
  writeStrip,
  writeTest,
} from "../lib/report/tensorboard/run_events.ts";
import { systemClock } from "../lib/train/clock.ts";
import type { RunEvent } from "../lib/train/events.ts";
import type { Metrics } from "../lib/train/metrics.ts";
import { StepRecorder } from "../lib/train/step_recorder.ts";
import { trainingStrip } from "../lib/train/strip.ts";

/** The run that is recorded. */
export interface RecordedRun {
  run: RunFolder;
  config: RunConfig;
  dataset: ImageDataset;
  /** Where it stands; at its beginning by default. */
  progress?: Progress;
  /** The folder below which TensorBoard finds the run; none for no event files. */
  tensorboard?: string;
}

/** Records a run. */
export class TrainRecords {
  private constructor(
    private readonly log: StepLog,
    private readonly recorder: StepRecorder,
    private readonly events: EventFile | undefined,
  ) {}

  /** Draws the strip, before the training has the device for itself, and begins the files. */
  static async begin(recorded: RecordedRun): Promise<TrainRecords> {
    const { run, config, dataset, tensorboard, progress = startOfRun() } = recorded;
    const picture = await trainingStrip(dataset, config, progress);
    await writeFileAtomic(stripPath(run), [encodePng(picture)]);
    const { step } = progress;
    const log = new StepLog(run, step, systemClock.now);
    const name = run.path.slice(run.path.lastIndexOf("/") + 1);
    const events = tensorboard === undefined
      ? undefined
      : new EventFile({ folder: `${tensorboard}/${name}`, step, now: Date.now });
    if (events) {
      writeConfiguration(events, step, config);
      writeStrip(events, step, picture);
    }
    const recorder = new StepRecorder(config, systemClock, {
      get isDue() {
        return log.isDue;
      },
      write: (line: StepLine) => {
        log.write(line);
        if (events) writeStep(events, line);
      },
    });
    return new TrainRecords(log, recorder, events);
  }

  /** Takes an event of the run. */
  handle(event: RunEvent): void {
    this.recorder.handle(event);
    if (this.events && event.type === "epoch") writeEpoch(this.events, { ...event.line });
  }

  /**
   * Waits until all is written.
   * @param test what the best weights make of the test images
   * @throws {UserError} if event files could not be written.
   */
  async end(step: number, test: Metrics | null): Promise<void> {
    if (this.events && test) writeTest(this.events, step, test);
    await this.log.settled();
    await this.events?.close();
  }
}
