/**
 * Makes WGSL whose storage buffers hold float32 into one where some hold f16. The kernels are written
 * once, for float32, and what they compute with stays that: each load is widened, each store rounded.
 */

/** How the elements of one buffer are loaded and stored. */
interface Access {
  name: string;
  /** Their type as the module computes with them, `f32` or a vector of it. */
  type: string;
  /** A power of two by which the stored ones are multiplied. */
  factor: number;
}

/**
 * @param code a module whose buffers are declared one a line as
 * `@group(0) @binding(n) var<storage, …> name: array<type>;` and used by index alone
 * @param halves by binding: the factor of the buffers that hold f16
 * @throws {Error} naming the binding that cannot be one of f16
 */
export function halfWgsl(code: string, halves: ReadonlyMap<number, number>): string {
  let text = code;
  for (const [binding, factor] of halves) text = withHalf(text, binding, factor);
  return `enable f16;\n${text}`;
}

function withHalf(code: string, binding: number, factor: number): string {
  const found = new RegExp(
    `(@binding\\(${binding}\\) var<storage, (?:read|read_write)> (\\w+): array<)([\\w<>]+)>;`,
  ).exec(code);
  const type = found && resolved(code, found[3]!);
  if (!found || !type || !/^(f32|vec[24]<f32>)$/.test(type)) {
    throw new Error(`Binding ${binding} is no array of f32, so that it cannot hold f16.`);
  }
  const [line, head, name] = found as unknown as [string, string, string];
  const access = { name, type, factor };
  const before = code.slice(0, found.index);
  const after = code.slice(found.index + line.length);
  return `${accessed(before, access)}${head}${half(type)}>;${accessed(after, access)}`;
}

/** A type without the alias that it may be. */
function resolved(code: string, type: string): string {
  return new RegExp(`alias ${type} = ([\\w<>]+);`).exec(code)?.[1] ?? type;
}

const half = (type: string) => type.replace("f32", "f16");

/** The text with all uses of one buffer widened or rounded. */
function accessed(text: string, access: Access): string {
  const { name, type, factor } = access;
  const load = (place: string) =>
    factor === 1 ? `${type}(${place})` : `(${type}(${place}) * ${1 / factor})`;
  const rounded = (value: string) =>
    factor === 1 ? `${half(type)}(${value})` : `${half(type)}((${value}) * ${factor}.0)`;
  const use = new RegExp(`(?<![\\w.])${name}\\[`);
  const pieces: string[] = [];
  let rest = text;
  for (let found = use.exec(rest); found; found = use.exec(rest)) {
    const open = found.index + name.length;
    const close = closingOf(rest, open);
    const place = `${name}[${accessed(rest.slice(open + 1, close), access)}]`;
    pieces.push(rest.slice(0, found.index));
    rest = rest.slice(close + 1);
    if (/^(\.\w+|\[[^\]]*\])+\s*[-+*/]?=(?!=)/.test(rest)) {
      throw new Error(`A part of an element of ${name} is stored, which cannot be rounded alone.`);
    }
    const assigned = /^\s*([-+*/]?)=(?!=)\s*/.exec(rest);
    if (!assigned) {
      pieces.push(load(place));
      continue;
    }
    const end = rest.indexOf(";");
    const value = accessed(rest.slice(assigned[0].length, end), access);
    const [, operator] = assigned;
    pieces.push(
      `${place} = ${rounded(operator ? `${load(place)} ${operator} (${value})` : value)}`,
    );
    rest = rest.slice(end);
  }
  return pieces.join("") + rest;
}

/** Position at which the bracket that opens at `open` closes. */
function closingOf(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if (text[at] === "[") depth++;
    else if (text[at] === "]" && --depth === 0) return at;
  }
  throw new Error(`A bracket stays open: ${text.slice(open, open + 80)}`);
}
