/**
 * Checking a configuration field by field, and the errors in the words of whoever gave the value.
 */
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import { shown } from "../shown.ts";

/** Origin of values: the option by key for each that the command line gave. */
export type Origin = ReadonlyMap<string, string>;

/** A key as its user wrote it: `--batch-size` from the command line, else `batchSize`. */
export function nameOf(key: string, origin?: Origin): string {
  return origin?.get(key) ?? key;
}

/** Words up to which a list is read whole; the fields of a configuration are more. */
const mostListed = 40;

/**
 * `; did you mean "x"? Known are a, b, c.`; without the question where nothing known is near, and
 * without the list where something is and the list is long.
 */
export function didYouMean(wrong: string, known: readonly string[]): string {
  const near = nearest(wrong, known);
  const list = known.join(", ");
  if (near === undefined) {
    if (known.length <= mostListed) return `; known are ${list}.`;
    return `; known are ${known.slice(0, mostListed).join(", ")} and ${
      known.length - mostListed
    } more, all of them in docs/configuration.md.`;
  }
  // A wall of words would hide the one that matters.
  return `; did you mean "${near}"?${known.length > 20 ? "" : ` Known are ${list}.`}`;
}

/** Where in a value the first thing is that a schema refuses, and what stands there. */
export function firstWrong(
  { issues }: z.ZodError,
  value: unknown,
): { path: PropertyKey[]; found: unknown } {
  const { path } = issues[0]!;
  const found = path.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
  return { path, found };
}

/** No list of a configuration has more values, so longer ones are not even looked through. */
const mostValues = 1000;

/**
 * Checks an object of fields; those with a default may be absent.
 * @param origin which of the values the command line gave
 * @throws {UserError} naming the first wrong key, its value and what it may be.
 */
export function parseFields<T extends z.ZodRawShape>(
  schema: z.ZodObject<T>,
  value: unknown,
  origin?: Origin,
): z.output<z.ZodObject<T>> {
  if (!isPlainObject(value)) {
    throw new UserError(`The configuration must be a JSON object, not ${shown(value)}.`);
  }
  // A misspelt key also leaves the right one out; the spelling is what to mend.
  assertKnown(Object.keys(value), Object.keys(schema.shape));
  for (const [key, field] of Object.entries(value)) {
    if (!Array.isArray(field) || field.length <= mostValues) continue;
    throw new UserError(
      `${labelOf([key], origin)} cannot have ${field.length} values: ${mostValues} are the most.`,
    );
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path, found } = firstWrong(result.error, value);
  const wanted = wantedText(jsonSchemaAt(schema, path), found);
  throw new UserError(
    `${labelOf(path, origin)} cannot be ${found === undefined ? "left out" : shown(found)}: ` +
      `it must be ${wanted}.`,
  );
}

/**
 * Asserts that every key is known.
 * @param place where the keys stand, as in ` in "optimizer"`
 * @throws {UserError} naming the first that is not, and the nearest known one.
 */
export function assertKnown(
  keys: readonly string[],
  known: readonly string[],
  place = "",
): void {
  const unknown = keys.find((key) => !known.includes(key));
  if (unknown === undefined) return;
  throw new UserError(
    `Unknown configuration key ${shown(unknown)}${place}${didYouMean(unknown, known)}`,
  );
}

/** Whether a value is an object as JSON has it, and no list. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function labelOf(path: readonly PropertyKey[], origin?: Origin): string {
  const [key, index] = path as [string, number?];
  const option = origin?.get(key);
  if (option === undefined) return `Configuration key "${path.join(".")}"`;
  return index === undefined ? `Option ${option}` : `Value ${index + 1} of option ${option}`;
}

/** The part of JSON Schema that our fields use. */
export interface FieldSchema {
  type?: "integer" | "number" | "string" | "boolean" | "array";
  enum?: string[];
  /** Of a text that is one of these, in words: `folder:PATH` stands for any path. */
  words?: string[];
  items?: FieldSchema;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  minItems?: number;
  maxItems?: number;
  maxLength?: number;
}

/** A field's type and range. */
export function jsonSchemaOf(field: z.ZodType): FieldSchema {
  return z.toJSONSchema(field, { io: "input" }) as FieldSchema;
}

function jsonSchemaAt(schema: { shape: z.ZodRawShape }, path: readonly PropertyKey[]): FieldSchema {
  const field = jsonSchemaOf(schema.shape[path[0] as string] as z.ZodType);
  return path.length > 1 ? field.items! : field;
}

/** Words for what a field may be; of a value that is only out of range, the range alone. */
function wantedText(schema: FieldSchema, found: unknown): string {
  if (schema.words) return orList(schema.words);
  if (schema.enum) return schema.enum.length === 1 ? schema.enum[0]! : orList(schema.enum);
  if (schema.type === "boolean") return "true or false";
  if (schema.type === "string") return `a text of at most ${schema.maxLength} characters`;
  if (schema.type === "array") {
    const { minItems = 0, maxItems, items } = schema;
    const what = { string: "texts", number: "numbers" }[items?.type as string] ?? "whole numbers";
    return `a list of ${minItems} to ${maxItems} ${what}`;
  }
  const isWhole = schema.type === "integer";
  const isRightKind = isWhole ? Number.isInteger(found) : Number.isFinite(found);
  const noun = isWhole ? "a whole number" : "a number";
  return isRightKind ? rangeText(schema) : `${noun} ${rangeText(schema)}`;
}

function rangeText(schema: FieldSchema): string {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema;
  const isBounded = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER;
  const above = exclusiveMinimum !== undefined ? `above ${exclusiveMinimum}` : `from ${minimum}`;
  if (isBounded) {
    return `${above}${exclusiveMinimum !== undefined ? " and at most" : " to"} ${maximum}`;
  }
  return exclusiveMaximum !== undefined ? `${above} to below ${exclusiveMaximum}` : above;
}

function orList(words: readonly string[]): string {
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
