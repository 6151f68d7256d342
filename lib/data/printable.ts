/**
 * At most 100 characters of a text from elsewhere, with `?` for those that would move the cursor,
 * colour the terminal or turn the direction of writing.
 */
export function printable(text: string): string {
  // deno-lint-ignore no-control-regex -- which are what must go
  const unfit = /[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
  const whole = text.replace(unfit, "?");
  return whole.length > 100 ? `${whole.slice(0, 99)}…` : whole;
}
