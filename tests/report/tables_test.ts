import { assertEquals, assertThrows } from "@std/assert";
import {
  classAccuracies,
  classTable,
  historyTable,
  markdownTable,
} from "../../lib/report/tables.ts";

Deno.test("a history in Markdown, the best epoch in bold", () => {
  const row = { top5: 0.3, valLoss: 3.5, valTop5: 0.4 };
  assertEquals(
    historyTable([
      { epoch: 1, loss: 4.8863, accuracy: 0.0294, ...row, valAccuracy: 0.0992 },
      { epoch: 2, loss: null, accuracy: 0.1, valAccuracy: 0.21 },
      { epoch: 10, loss: 3, accuracy: 0.2, ...row, valAccuracy: 0.21 },
      { epoch: 11, loss: 3, accuracy: 0.2, ...row, valAccuracy: null },
    ]),
    [
      "| epoch |   loss | accuracy |   top5 | val_loss | val_accuracy | val_top5 |",
      "| ----- | -----: | -------: | -----: | -------: | -----------: | -------: |",
      "| 1     | 4.8863 |   0.0294 | 0.3000 |   3.5000 |       0.0992 |   0.4000 |",
      "| 2     |        |   0.1000 |        |          |   **0.2100** |          |",
      "| 10    | 3.0000 |   0.2000 | 0.3000 |   3.5000 |       0.2100 |   0.4000 |",
      "| 11    | 3.0000 |   0.2000 | 0.3000 |   3.5000 |              |   0.4000 |",
      "",
    ].join("\n"),
  );
});

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
