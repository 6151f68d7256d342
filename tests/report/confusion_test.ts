import { assertEquals, assertThrows } from "@std/assert";
import {
  confusedPairs,
  confusionMatrix,
  confusionTable,
  pairTable,
  precisions,
} from "../../lib/report/confusion.ts";

const names = ["cat", "dog", "emu"];
const labels = Uint8Array.of(0, 0, 0, 0, 1, 1, 1, 2);
const guesses = Int32Array.of(0, 1, 1, 2, 1, 1, 0, 0);
const matrix = confusionMatrix(labels, guesses, 3);

Deno.test("rows are labels, columns guesses", () => {
  assertEquals(matrix, [[1, 2, 1], [1, 2, 0], [1, 0, 0]]);
  assertThrows(() => confusionMatrix([3], [0], 3), RangeError, "Label 3 of image 0");
  // A model may have more classes than the data.
  assertEquals(confusionMatrix([0, 1], [5, 1], 2), [[0, 0], [0, 1]]);
});

Deno.test("precision is of the images taken for a class, and NaN for none", () => {
  assertEquals(precisions(matrix), [1 / 3, 1 / 2, 0]);
  assertEquals(precisions([[0, 1], [0, 1]]), [NaN, 1 / 2]);
});

Deno.test("the most confused pairs have the most images, then the largest share", () => {
  assertEquals(confusedPairs(matrix, names, 3), [
    { label: "cat", guess: "dog", count: 2, share: 0.5 },
    { label: "emu", guess: "cat", count: 1, share: 1 },
    { label: "dog", guess: "cat", count: 1, share: 1 / 3 },
  ]);
  assertEquals(confusedPairs([[1, 0], [0, 1]], ["a", "b"], 3), []);
  assertEquals(
    pairTable(confusedPairs(matrix, names, 1)),
    [
      "| class              | images | of its images |",
      "| ------------------ | -----: | ------------: |",
      "| cat, taken for dog |      2 |        50.0 % |",
      "",
    ].join("\n"),
  );
});

Deno.test("the matrix is a table where it fits", () => {
  const table = [
    "| class, taken for |   0 |   1 |   2 |",
    "| ---------------- | --: | --: | --: |",
    "| 0 cat            |   1 |   2 |   1 |",
    "| 1 dog            |   1 |   2 |   0 |",
    "| 2 emu            |   1 |   0 |   0 |",
    "",
  ].join("\n");
  const width = table.indexOf("\n");
  assertEquals(confusionTable(matrix, names, width), table);
  assertEquals(confusionTable(matrix, names, width - 1), null);
});
