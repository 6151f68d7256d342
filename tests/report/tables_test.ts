import { assertEquals, assertThrows } from "@std/assert";
import { classAccuracies, classTable, markdownTable } from "../../lib/report/tables.ts";

Deno.test("hits are counted by class, and the table has the best first", () => {
  const classes = classAccuracies(
    ["apple", "bear", "unseen", "chair"],
    Uint8Array.of(0, 1, 1, 0, 3, 1),
    [0, 1, 1, 1, 0, 0],
    [1, 1, 1, 1, 0, 0],
  );
  assertEquals(classes, [
    { name: "apple", count: 2, top1: 0.5, top5: 1 },
    { name: "bear", count: 3, top1: 2 / 3, top5: 2 / 3 },
    { name: "unseen", count: 0, top1: NaN, top5: NaN },
    { name: "chair", count: 1, top1: 0, top5: 0 },
  ]);
  assertEquals(
    classTable(classes),
    [
      "| class  | images |  top-1 |   top-5 |",
      "| ------ | -----: | -----: | ------: |",
      "| bear   |      3 | 66.7 % |  66.7 % |",
      "| apple  |      2 | 50.0 % | 100.0 % |",
      "| chair  |      1 |  0.0 % |   0.0 % |",
      "| unseen |      0 |        |         |",
      "",
    ].join("\n"),
  );
});

Deno.test("a label without a name is no silent hit", () => {
  assertThrows(() => classAccuracies(["a"], [1], [1], [1]), RangeError, "Label 1 of image 0");
});

Deno.test("a bar inside a cell does not break the table", () => {
  assertEquals(markdownTable(["a|b"], [["c"]]), "| a\\|b |\n| ---- |\n| c    |\n");
});
