import { assertEquals, assertThrows } from "@std/assert";
import { halfWgsl } from "../../lib/backend/half_wgsl.ts";

const module = (body: string, type = "Value") =>
  `alias Value = vec4<f32>;
@group(0) @binding(0) var<storage, read> x: array<${type}>;
@group(0) @binding(1) var<storage, read> at: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<${type}>;
${body}
`;

/** The body of a module of which some bindings hold f16. */
function bodyOf(body: string, halves: [binding: number, factor: number][]): string {
  const text = halfWgsl(module(body), new Map(halves));
  return text.slice(text.indexOf("y: array<"), -1).replace(/^.*\n/, "");
}

Deno.test("loads are widened and stores rounded, each in its buffer alone", () => {
  const body = "y[at[i]] = x[i] * 2.0 + x[at[i + 1u]].wzyx;";
  assertEquals(
    bodyOf(body, [[0, 1]]),
    "y[at[i]] = vec4<f32>(x[i]) * 2.0 + vec4<f32>(x[at[i + 1u]]).wzyx;",
  );
  assertEquals(
    bodyOf(body, [[2, 1]]),
    "y[at[i]] = vec4<f16>(x[i] * 2.0 + x[at[i + 1u]].wzyx);",
  );
  assertEquals(
    bodyOf("let z = y[i];\ny[i] = y[i] + z;", [[2, 1]]),
    "let z = vec4<f32>(y[i]);\ny[i] = vec4<f16>(vec4<f32>(y[i]) + z);",
  );
});

Deno.test("a factor multiplies what is stored, and is taken back where it is loaded", () => {
  assertEquals(
    bodyOf("y[i] += a - x[i];", [[0, 16], [2, 8]]),
    "y[i] = vec4<f16>(((vec4<f32>(y[i]) * 0.125) + (a - (vec4<f32>(x[i]) * 0.0625))) * 8.0);",
  );
});

Deno.test("comparisons, fields and longer names are no stores and no uses", () => {
  const body = "if (y[i] == z) { v.x[i] = xx[i]; }";
  assertEquals(bodyOf(body, [[0, 1]]), body);
  assertEquals(bodyOf(body, [[2, 1]]), "if (vec4<f32>(y[i]) == z) { v.x[i] = xx[i]; }");
});

Deno.test("declarations name the f16 of their type, and f16 is enabled once", () => {
  const text = halfWgsl(module("", "f32"), new Map([[0, 1], [2, 2]]));
  assertEquals(text.match(/enable f16;/g)?.length, 1);
  assertEquals(text.startsWith("enable f16;\n"), true);
  assertEquals(text.match(/array<\w+>/g), ["array<f16>", "array<u32>", "array<f16>"]);
});

Deno.test("what cannot be f16 is refused", () => {
  assertThrows(
    () => halfWgsl(module(""), new Map([[1, 1]])),
    Error,
    "Binding 1 is no array of f32",
  );
  assertThrows(
    () => halfWgsl(module(""), new Map([[7, 1]])),
    Error,
    "Binding 7 is no array of f32",
  );
  assertThrows(() => halfWgsl(module("y[i].x = 1.0;"), new Map([[2, 1]])), Error, "of y is stored");
});
