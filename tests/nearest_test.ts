import { assertEquals } from "@std/assert";
import { nearest } from "../lib/nearest.ts";

const known = ["batch-size", "zoom", "epsilon", "epochs", "tiny", "wasm", "keras-cifar100"];

/** What was typed, and what is near it. */
const cases: [wrong: string, near: string | undefined][] = [
  ["bacth-size", "batch-size"],
  ["batchsize", "batch-size"],
  ["TINY", "tiny"],
  ["tinny", "tiny"],
  ["wsam", "wasm"],
  ["cifar100", "keras-cifar100"],
  ["foo", undefined],
  ["version", undefined],
  ["lr", undefined],
  ["", undefined],
  ["x".repeat(1_000_000), undefined],
];

for (const [wrong, near] of cases) {
  Deno.test(`near ${wrong.slice(0, 20) || "nothing"} is ${near ?? "nothing"}`, () => {
    assertEquals(nearest(wrong, known), near);
  });
}
