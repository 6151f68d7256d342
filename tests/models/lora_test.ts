import { assertAlmostEquals, assertEquals, assertStrictEquals } from "@std/assert";
import {
  adapterShapes,
  isAdapter,
  loraScale,
  mergeAdapters,
  withIdleAdapters,
} from "../../lib/models/lora.ts";

const kernel = { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) };
const plain = new Map([["blocks.0.attention.query.kernel", kernel], ["norm.gamma", kernel]]);
const a = { shape: [2, 1], data: Float32Array.of(1, -2) };
const b = { shape: [1, 2], data: Float32Array.of(0.5, 0.25) };
const adapted = new Map([
  ...plain,
  ["blocks.0.attention.query.lora_a", a],
  ["blocks.0.attention.query.lora_b", b],
]);

Deno.test("queries and values have adapters, and nothing else", () => {
  const names = ["query", "key", "value", "output"].map((each) => `blocks.3.attention.${each}`);
  const weights = new Map(names.flatMap((name): [string, number[]][] => [
    [`${name}.kernel`, [6, 4]],
    [`${name}.bias`, [4]],
  ]));
  assertEquals([...adapterShapes(weights, { lora: 2 })], [
    ["blocks.3.attention.query.lora_a", [6, 2]],
    ["blocks.3.attention.query.lora_b", [2, 4]],
    ["blocks.3.attention.value.lora_a", [6, 2]],
    ["blocks.3.attention.value.lora_b", [2, 4]],
  ]);
  assertEquals([...adapterShapes(weights, { lora: 0 })], []);
});

Deno.test("the scale is alpha / rank, and 1 where alpha is left out", () => {
  assertEquals(loraScale({ lora: 8, loraAlpha: 16 }), 2);
  assertAlmostEquals(loraScale({ lora: 8, loraAlpha: 0 }), 1);
});

Deno.test("merged, a kernel has what the adapter added, and the rest is as it was", () => {
  const merged = mergeAdapters(adapted, { lora: 1, loraAlpha: 2 });
  assertEquals([...merged.keys()], [...plain.keys()]);
  assertEquals([...merged.get("blocks.0.attention.query.kernel")!.data], [2, 2.5, 1, 3]);
  assertStrictEquals(merged.get("norm.gamma"), kernel);
  assertStrictEquals(mergeAdapters(plain, { lora: 1, loraAlpha: 0 }), plain);
});

Deno.test("idle adapters leave merged weights what they are", () => {
  const idle = withIdleAdapters(plain, { lora: 1 });
  assertEquals([...idle.keys()].filter(isAdapter).length, 2);
  assertEquals(mergeAdapters(idle, { lora: 1, loraAlpha: 0 }), plain);
  assertStrictEquals(withIdleAdapters(plain, { lora: 0 }), plain);
});
