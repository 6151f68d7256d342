import { assertEquals } from "@std/assert";
import { nearest } from "../lib/nearest.ts";

const options = ["epochs", "epsilon", "batch-size", "learning-rate", "transformer-layers", "out"];

/** What is typed, and what is meant. */
const cases: [wrong: string, right: string | undefined][] = [
  ["epoch", "epochs"],
  ["bacth-size", "batch-size"],
  ["Learning-Rate", "learning-rate"],
  ["ouy", "out"],
  ["layers", "transformer-layers"],
  ["version", undefined],
  ["foo", undefined],
  ["lr", undefined],
  ["x".repeat(1_000_000), undefined],
];

for (const [wrong, right] of cases) {
  Deno.test(`the nearest to ${wrong.slice(0, 20)} is ${right ?? "none"}`, () => {
    assertEquals(nearest(wrong, options), right);
  });
}

Deno.test("a word that several contain is near none of them", () => {
  assertEquals(nearest("dropout", ["attention-dropout", "head-dropout"]), undefined);
});
