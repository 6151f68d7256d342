import { assertEquals } from "@std/assert";
import { didYouMean } from "../../lib/config/parse.ts";

Deno.test("didYouMean takes the nearest", () => {
  assertEquals(
    didYouMean("wsam", ["webgpu", "wasm"]),
    '; did you mean "wasm"? Known are webgpu, wasm.',
  );
});

Deno.test("didYouMean suggests nothing that has little in common with what was given", () => {
  assertEquals(didYouMean("foo", ["keras-cifar100", "tiny"]), "; known are keras-cifar100, tiny.");
  assertEquals(didYouMean("TINY", ["b", "tiny"]), '; did you mean "tiny"? Known are b, tiny.');
});
