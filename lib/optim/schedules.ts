/**
 * Learning-rate schedules by name; the table's keys are the words of the field `schedule`.
 *
 * A schedule is a pure function, so that any step's rate can be computed alone: a resumed run goes
 * on as it would have. A new one is a function and a line of the table; a number of its own is a
 * field in `lib/config/schedule.ts` and in {@linkcode ScheduleContext}.
 */

/** Facts that a schedule may look at beside the step. */
export interface ScheduleContext {
  /** Steps of the whole run. */
  totalSteps: number;
  /** Steps of one epoch. */
  stepsPerEpoch: number;
}

/** Factor of the learning rate at a step (from 0), at least 0. */
export type Schedule = (step: number, context: ScheduleContext) => number;

/** The schedules by name. */
export const schedules = {
  /** The same rate all along, as the Keras example has it. */
  constant: () => 1,
} satisfies Record<string, Schedule>;

/** A schedule's name. */
export type ScheduleName = keyof typeof schedules;

/**
 * Factor of the learning rate at one step.
 * @param step steps taken before it, from 0
 * @param stepsPerEpoch steps of one epoch
 */
export function scheduleFactor(
  config: { schedule: ScheduleName; epochs: number },
  step: number,
  stepsPerEpoch: number,
): number {
  const schedule: Schedule = schedules[config.schedule];
  return schedule(step, { totalSteps: stepsPerEpoch * config.epochs, stepsPerEpoch });
}
