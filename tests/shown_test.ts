import { assert, assertEquals } from "@std/assert";
import { printable, shown } from "../lib/shown.ts";

Deno.test("a short value is shown as JSON has it", () => {
  for (
    const value of ['a"b\\c\n', 3, -0.5, true, null, [1, "b", [2]], { a: { b: [] }, "c d": null }]
  ) assertEquals(shown(value), JSON.stringify(value));
});

Deno.test("what JSON has no word for is shown too", () => {
  assertEquals([NaN, Infinity, undefined, 3n].map(shown), ["NaN", "Infinity", "undefined", "3"]);
  assertEquals(shown(Symbol("x")), "Symbol(x)");
});

Deno.test("what would act on a terminal is escaped", () => {
  const text = shown("a\x1b[31m\x9b\u202e\u2028\u{e0041}b");
  assertEquals(text, '"a\\u001b[31m\\u{9b}\\u{202e}\\u{2028}\\u{e0041}b"');
});

Deno.test("a value of any size is cut to 80 characters at once", () => {
  let deep: unknown = 1;
  for (let i = 0; i < 1e6; i++) deep = [deep];
  const values = [
    "x".repeat(1e6),
    Array.from({ length: 1e6 }, (_, i) => i),
    Object.fromEntries(Array.from({ length: 1e5 }, (_, i) => [`key${i}`, i])),
    deep,
    "\u{1f600}".repeat(1000),
  ];
  for (const value of values) {
    const start = performance.now();
    const text = shown(value);
    assert(performance.now() - start < 100, text);
    assertEquals(text.length, 80);
    assert(text.endsWith("…") && text.isWellFormed(), text);
  }
});

Deno.test("a text is printed as it is, but for what would act on a terminal", () => {
  assertEquals(printable("golden retriever, 犬"), "golden retriever, 犬");
  assertEquals(printable("\x1b[2Ja\u202eb"), "\\u{1b}[2Ja\\u{202e}b");
  const long = printable("x".repeat(1e6));
  assertEquals([long.length, long.at(-1)], [100, "…"]);
});
