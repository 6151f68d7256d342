/** Time as a run sees it. */
export interface Clock {
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  /** The date, for people. */
  date(): Date;
}

/** The clock of this machine. */
export const systemClock: Clock = { now: () => performance.now(), date: () => new Date() };
