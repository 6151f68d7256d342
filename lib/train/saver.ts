/** When a run is saved, and that one save at a time goes on beside the training. */

/** How often a run is saved between the ends of its epochs; null for never. */
export type SaveEvery = { steps: number } | { minutes: number } | null;

/**
 * Runs saves in the background, one at a time and in order. A failure is thrown at the next
 * question, so it ends the run at its next step.
 */
export class Saver {
  private inFlight: Promise<void> | null = null;
  private failure: { error: unknown } | null = null;
  private lastTime: number;

  /**
   * @param lastStep the step that the run stands at
   * @param now milliseconds of a clock that never goes back
   */
  constructor(
    private readonly every: SaveEvery,
    private lastStep: number,
    private readonly now: () => number,
  ) {
    this.lastTime = now();
  }

  /**
   * Whether a save is due; while one is in flight, none is: training never waits for a disk.
   * @throws what a save has failed with
   */
  isDue(step: number): boolean {
    this.throwFailure();
    if (this.every === null || this.inFlight !== null) return false;
    return "steps" in this.every
      ? step - this.lastStep >= this.every.steps
      : this.now() - this.lastTime >= this.every.minutes * 60_000;
  }

  /** Starts a save of the run at `step`, after the one in flight; does not wait for its end. */
  async start(step: number, save: () => Promise<void>): Promise<void> {
    await this.settled();
    this.lastStep = step;
    this.lastTime = this.now();
    this.inFlight = save().catch((error: unknown) => void (this.failure = { error })).finally(
      () => {
        this.inFlight = null;
      },
    );
  }

  /** Waits for the save in flight; throws what it has failed with. */
  async settled(): Promise<void> {
    await this.inFlight;
    this.throwFailure();
  }

  private throwFailure(): void {
    const { failure } = this;
    this.failure = null;
    if (failure) throw failure.error;
  }
}
