/** Values and texts from elsewhere, as an error or a terminal may show them. */

/** The most characters of a foreign value that an error repeats. */
const mostShown = 80;

/** Control characters, direction marks and invisible ones, which would act on a terminal. */
const acting = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/**
 * Text of a foreign value for an error: as JSON has it, at most 80 characters, with everything
 * escaped that would act on a terminal. The work does not grow with the value.
 */
export function shown(value: unknown): string {
  const text = written(value, mostShown, 0);
  return text.length <= mostShown ? text : `${text.slice(0, mostShown - 1).toWellFormed()}…`;
}

/** At least the first `room` characters of a value's text, or all of it. */
function written(value: unknown, room: number, depth: number): string {
  if (typeof value === "string") return quoted(value, room);
  // JSON would call NaN and Infinity null.
  if (typeof value !== "object" || value === null) return String(value).slice(0, room + 1);
  const isList = Array.isArray(value);
  if (depth > mostShown) return "…";
  let text = isList ? "[" : "{";
  // A list is keyed by the indices that it may need, not by all of a million.
  for (const key in isList ? value.slice(0, room) : value) {
    if (text.length > room) break;
    if (text.length > 1) text += ",";
    if (!isList) text += `${quoted(key, room)}:`;
    text += written((value as Record<string, unknown>)[key], room - text.length, depth + 1);
  }
  return text + (isList ? "]" : "}");
}

function quoted(text: string, room: number): string {
  return escaped(JSON.stringify(text.slice(0, Math.max(0, room) + 1)));
}

function escaped(text: string): string {
  return text.replace(acting, (each) => `\\u{${each.codePointAt(0)!.toString(16)}}`);
}

/** At most 100 characters of a text from elsewhere, everything escaped that would act on a terminal. */
export function printable(text: string): string {
  const whole = escaped(text.slice(0, 101));
  return whole.length > 100 ? `${whole.slice(0, 99).toWellFormed()}…` : whole;
}
