/**
 * An error that a user caused and can mend: its message is one sentence with the offending value
 * and the way out. Tasks print it without a stack and exit with code 2.
 */
export class UserError extends Error {
  override readonly name = "UserError";
}
