import { assertEquals } from "@std/assert";
import { didYouMean } from "../../lib/config/parse.ts";

Deno.test("didYouMean takes the nearest", () => {
  assertEquals(
    didYouMean("wsam", ["webgpu", "wasm"]),
    '; did you mean "wasm"? Known are webgpu, wasm.',
  );
});
