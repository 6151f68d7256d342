/**
 * Learning-rate schedules by name; the table's keys are the words of the field `schedule`.
 *
 * A run's rate rises to its peak in equal steps over the warm-up, then goes to its floor along the
 * schedule's curve. All of it is a pure function of the step and the configuration, so that any
 * step's rate can be computed alone: a resumed run goes on as it would have. A new schedule is a
 * line of the table.
 */

/** A curve from peak to floor. */
export interface Schedule {
  /**
   * Height between floor (0) and peak (1).
   * @param share of the steps after the warm-up, those done before this one: 0 to below 1
   */
  height: (share: number) => number;
  /** Whether the curve ends with the run, so that other `epochs` are another curve. */
  followsEpochs: boolean;
}

/** The schedules by name. */
export const schedules = {
  /** The same rate all along, as the Keras example has it. */
  constant: { height: () => 1, followsEpochs: false },
  /** Half a period of the cosine (Loshchilov and Hutter, 2016), without restarts. */
  cosine: { height: (share) => (1 + Math.cos(Math.PI * share)) / 2, followsEpochs: true },
  /** A straight line down. */
  linear: { height: (share) => 1 - share, followsEpochs: true },
} satisfies Record<string, Schedule>;

/** A schedule's name. */
export type ScheduleName = keyof typeof schedules;

/** The fields of a run's configuration that decide its rates. */
export interface Scheduled {
  schedule: ScheduleName;
  epochs: number;
  /** The peak. */
  learningRate: number;
  /** Epochs of the warm-up, rounded to whole steps. */
  warmupEpochs: number;
  /** The rate that the curve goes to, at most the peak. */
  learningRateFloor: number;
}

/**
 * Factor of the learning rate at one step, above 0 and at most 1: `(step + 1) / warm-up` at first.
 * @param step steps taken before it, from 0
 * @param stepsPerEpoch steps of one epoch
 */
export function scheduleFactor(config: Scheduled, step: number, stepsPerEpoch: number): number {
  const { epochs, warmupEpochs, learningRate, learningRateFloor } = config;
  const warmup = Math.round(warmupEpochs * stepsPerEpoch);
  if (step < warmup) return (step + 1) / warmup;
  const { height }: Schedule = schedules[config.schedule];
  const floor = learningRateFloor / learningRate;
  return floor + (1 - floor) * height((step - warmup) / (epochs * stepsPerEpoch - warmup));
}
