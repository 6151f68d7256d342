import type { RunConfig } from "../config/run.ts";
import { UserError } from "../errors.ts";

/** Error of a run whose numbers left the range of float32. */
export class Diverged extends UserError {
  /**
   * @param what which number it was noticed in
   * @param step the step after which, or in which, it was; from 1
   * @param first the first such tensor, with its article, if it is known
   */
  constructor(
    readonly what: string,
    readonly step: number,
    readonly config: RunConfig,
    first?: string,
  ) {
    super(
      `The ${what} became NaN or infinite at step ${step}${first ? ` (first: ${first})` : ""}; ` +
        `the weights saved before it are untouched, try again with a smaller --learning-rate than ` +
        `${config.learningRate}, or with --on-nan skip.`,
    );
  }
}
