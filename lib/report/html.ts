/** HTML and SVG as text in which nothing from elsewhere can become markup. */

/** Markup that is whole and safe; any other value is escaped where it is put into one. */
export class Markup {
  /** @param text markup, of whose every part its maker has made sure */
  constructor(readonly text: string) {}
}

/** What may stand in a template; a list is put together without anything between. */
export type Part = Markup | string | number | null | undefined | false | readonly Part[];

/**
 * Markup of a template, `` html`<p>${text}</p>` ``: what is put in is escaped, also for attributes in
 * double quotes, but for other {@linkcode Markup}. What is null, undefined or false leaves nothing.
 */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Markup {
  return new Markup(strings.reduce((text, string, i) => text + written(parts[i - 1]) + string));
}

function written(part: Part): string {
  if (part instanceof Markup) return part.text;
  if (Array.isArray(part)) return part.map(written).join("");
  return part === null || part === undefined || part === false ? "" : escapeHtml(String(part));
}

const entities: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Characters that XML refuses; an SVG with one of them would not open. */
// deno-lint-ignore no-control-regex -- these are what is looked for
const forbidden = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g;

/** A text as HTML and XML show it. */
export function escapeHtml(text: string): string {
  return text.toWellFormed().replace(forbidden, "\ufffd")
    .replace(/[&<>"']/g, (character) => entities[character]!);
}
