/** Checks at the doors of the public API: what cannot be right is refused before any work. */
import { UserError } from "./errors.ts";

/**
 * Asserts that a value is a whole number of a range.
 * @throws {UserError} with the name, the value and the range
 */
export function assertWhole(
  name: string,
  value: unknown,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): void {
  if (Number.isSafeInteger(value) && value as number >= least && value as number <= most) return;
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
  throw new UserError(`${name} cannot be ${String(value)}: it must be a whole number ${range}.`);
}

/**
 * Asserts that a value is a number of a range, neither NaN nor infinite.
 * @param most inclusive; `below` excludes its own bound
 * @throws {UserError} with the name, the value and the range
 */
export function assertNumber(
  name: string,
  value: unknown,
  { least = -Infinity, most = Infinity, below = Infinity }: {
    least?: number;
    most?: number;
    below?: number;
  },
): void {
  const x = value as number;
  if (typeof value === "number" && Number.isFinite(x) && x >= least && x <= most && x < below) {
    return;
  }
  const range = [
    least > -Infinity ? `from ${least}` : "",
    most < Infinity ? `to ${most}` : "",
    below < Infinity ? `to below ${below}` : "",
  ].filter(Boolean).join(" ");
  throw new UserError(`${name} cannot be ${String(value)}: it must be a number ${range}.`);
}
