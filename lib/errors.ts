/**
 * An error that a user caused and can mend: its message is one sentence with the offending value
 * and the way out. Tasks print it without a stack and exit with code 2.
 *
 * @example
 * ```ts
 * import { preset, UserError } from "../mod.ts";
 *
 * try {
 *   preset("tinny");
 * } catch (error) {
 *   if (!(error instanceof UserError)) throw error;
 *   console.log(error.message); // There is no preset "tinny"; did you mean "tiny"? …
 * }
 * ```
 */
export class UserError extends Error {
  /** Name of the class. */
  override readonly name = "UserError";
}
