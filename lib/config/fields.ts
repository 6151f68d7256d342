/** Pieces that the fields of several groups are made of. */
import { z } from "../deps.ts";

/** A group of fields by name. */
export type Fields = Record<string, z.ZodType>;

/** A whole number from 1. */
export const count = z.int().min(1);

/** A share, from 0 to below 1. */
export const rate = z.number().min(0).lt(1);

/**
 * A field that release 0.1.0 does not know. It has a default, with which it is read from older
 * files, and it is not written while it has that default: a run that does not use it keeps its
 * bytes.
 */
export function younger<T extends z.ZodType>(
  field: T,
  value: z.core.util.NoUndefined<z.output<T>>,
) {
  return field.default(value).meta({ isYounger: true });
}

/** The default that is not written; undefined for a field that always is. */
export function unwrittenDefault(field: z.ZodType): unknown {
  return field.meta()?.isYounger ? field.parse(undefined) : undefined;
}
