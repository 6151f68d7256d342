import { assertEquals } from "@std/assert";
import { blocks, csv, json, table } from "../../lib/report/predictions.ts";

const guesses = [
  { className: "sea lion", probability: 0.75 },
  { className: 'a "cat", maybe', probability: 0.2 },
];

Deno.test("blocks: the file, and a line for each guess", () => {
  assertEquals(blocks.lines("my photo.jpg", guesses), [
    "my photo.jpg",
    "   75.00 %  sea lion",
    '   20.00 %  a "cat", maybe',
  ]);
});

Deno.test("a table: a line for each image, the file at its end", () => {
  const { lines } = table(["sea lion", 'a "cat", maybe', "emu"]);
  assertEquals(lines("a.jpg", guesses.slice(0, 1)), [" 75.00 %  sea lion        a.jpg"]);
  assertEquals(lines("a.jpg", guesses), [
    ' 75.00 %  sea lion         20.00 %  a "cat", maybe  a.jpg',
  ]);
});

Deno.test("comma-separated values: a line for each guess, quoted where they must be", () => {
  assertEquals(csv.head, "image,rank,class,probability");
  assertEquals(csv.lines("a,b.jpg", guesses), [
    '"a,b.jpg",1,sea lion,0.75',
    '"a,b.jpg",2,"a ""cat"", maybe",0.2',
  ]);
});

Deno.test("JSON: an object for each image", () => {
  assertEquals(JSON.parse(json.lines("a.jpg", guesses)[0]!), {
    image: "a.jpg",
    predictions: guesses,
  });
});

Deno.test("what would act on a terminal is escaped in what people read", () => {
  const evil = [{ className: "\x1b[2Jcat", probability: 1 }];
  for (const { lines } of [blocks, table(["\x1b[2Jcat"])]) {
    const text = lines(`${"long/".repeat(40)}\u202egpj`, evil).join();
    assertEquals(/[\p{Cc}\p{Cf}…]/u.test(text), false, text);
  }
});
