/** Messages of Protocol Buffers without a compiler. */
import type { protobuf } from "./deps.ts";

/** A message by its fields: `"float"` is an optional one, `"float[]"` a repeated one. */
export function message(fields: Record<string, [id: number, type: string]>): protobuf.IType {
  return {
    // Writes a zero that is set, where proto3 leaves it out.
    edition: "proto2",
    fields: Object.fromEntries(
      Object.entries(fields).map(([name, [id, type]]) => {
        const repeated = type.endsWith("[]") ? { rule: "repeated" } : {};
        return [name, { ...repeated, type: type.replace("[]", ""), id }];
      }),
    ),
  };
}
