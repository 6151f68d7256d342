/** A run in TensorBoard's words: tags as most tools group them, `train/…` and `val/…`. */
import type { HistoryLine } from "../../checkpoint/history.ts";
import type { StepLine } from "../../checkpoint/step_log.ts";
import type { RunConfig } from "../../config/run.ts";
import { encodePng } from "../encode_png.ts";
import { markdownTable } from "../tables.ts";
import type { Picture } from "../patches.ts";
import type { EventFile } from "./event_file.ts";

/** Writes the means of an epoch at its last step. */
export function writeEpoch(file: EventFile, line: HistoryLine): void {
  file.scalars(line.step, {
    "train/loss": line.loss,
    "train/accuracy": line.accuracy,
    "train/top5": line.top5,
    "val/loss": line.valLoss,
    "val/accuracy": line.valAccuracy,
    "val/top5": line.valTop5,
    "ema_val/loss": line.emaValLoss,
    "ema_val/accuracy": line.emaValAccuracy,
    "ema_val/top5": line.emaValTop5,
    "learning_rate": line.learningRate,
  });
}

/** Writes the means of an epoch so far. */
export function writeStep(file: EventFile, line: StepLine): void {
  file.scalars(line.step, {
    "step/loss": line.loss,
    "step/accuracy": line.accuracy,
    "step/learning_rate": line.learningRate,
    "step/images_per_second": line.imagesPerSecond,
  });
}

/** Writes the training images that the model sees next. */
export function writeStrip(file: EventFile, step: number, picture: Picture): void {
  file.image(step, "train/images", { ...picture, png: encodePng(picture) });
}

/** Writes the configuration as a table. */
export function writeConfiguration(file: EventFile, step: number, config: RunConfig): void {
  const rows = Object.entries(config).map(([key, value]) => [key, JSON.stringify(value)]);
  file.text(step, "configuration", markdownTable(["field", "value"], rows));
}

/** Writes what the best weights make of the test images. */
export function writeTest(
  file: EventFile,
  step: number,
  { loss, accuracy, top5 }: { loss: number; accuracy: number; top5: number },
): void {
  file.scalars(step, { "test/loss": loss, "test/accuracy": accuracy, "test/top5": top5 });
}
