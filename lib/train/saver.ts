/** Times at which a run is saved; one save at a time goes on beside the training. */

/** Interval of the saves between the ends of epochs; null for none. */
export type SaveEvery = { steps: number } | { minutes: number } | null;

/** The share of a step's time that training may wait after it while a save is in flight. */
const waitingShare = 0.05;

/**
 * Runs saves in the background, one at a time and in order. A failure is thrown at the next
 * question, so it ends the run at its next step.
 */
export class Saver {
  private inFlight: Promise<void> | null = null;
  private failure: { error: unknown } | null = null;
  private lastTime: number;
  private lastRest: number;

  /**
   * @param lastStep the step that the run stands at
   * @param now milliseconds of a clock that never goes back
   */
  constructor(
    private readonly every: SaveEvery,
    private lastStep: number,
    private readonly now: () => number,
  ) {
    this.lastTime = this.lastRest = now();
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

  /**
   * To be awaited after each step. What a save waits for is done beside the training, but each of
   * its stages is begun by the thread that trains, and where a step takes long, a save of many
   * stages would take many steps.
   */
  async rest(): Promise<void> {
    const budget = waitingShare * (this.now() - this.lastRest);
    if (this.inFlight && budget >= 1) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, budget);
      await Promise.race([this.inFlight, promise]);
      clearTimeout(timer);
    }
    this.lastRest = this.now();
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
