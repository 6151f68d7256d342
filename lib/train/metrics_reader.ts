/** What the steps have found, on its way from the device to the run's progress. */
import type { Progress } from "../checkpoint/progress.ts";
import type { RunConfig } from "../config/run.ts";
import type { AdamW } from "../optim/adamw.ts";
import { Diverged } from "./diverged.ts";
import { addSums, type BatchMetrics, skippedSums } from "./metrics.ts";

/** Moves what the device has summed into the progress of the run. */
export class MetricsReader {
  private readonly skippedBefore: number;

  constructor(
    private readonly options: { config: RunConfig; onNan?: "stop" | "skip" },
    private readonly progress: Progress,
    private readonly metrics: BatchMetrics,
    private readonly optimizer: AdamW,
  ) {
    this.skippedBefore = progress.skippedSteps ?? 0;
  }

  async read(): Promise<void> {
    const { options: { config, onNan }, progress, metrics, optimizer } = this;
    const skips = onNan === "skip";
    let { unread } = metrics;
    for (const sums of await metrics.take()) {
      unread--;
      const counts = Number.isFinite(sums.loss);
      if (!counts && !skips) throw new Diverged("loss", progress.step - unread, config);
      progress.sums = addSums(progress.sums, counts ? sums : skippedSums(sums.images));
    }
    if (!skips) return;
    const skipped = this.skippedBefore + await optimizer.readSkipped();
    if (skipped > 0) progress.skippedSteps = skipped;
  }
}
