import { assertEquals } from "@std/assert";
import { placeOf } from "../../lib/web/attention_picture.ts";

/** A map of `side` places a side, of which one has everything. */
function mapOf(side: number, row: number, column: number) {
  const values = new Float32Array(side * side);
  values[row * side + column] = 1;
  return { side, values };
}

Deno.test("the place where most of the attention lies is said in words", () => {
  assertEquals(placeOf(mapOf(9, 0, 0)), "at the top, left");
  assertEquals(placeOf(mapOf(9, 1, 4)), "at the top");
  assertEquals(placeOf(mapOf(9, 4, 8)), "in the middle, right");
  assertEquals(placeOf(mapOf(9, 4, 4)), "in the middle");
  assertEquals(placeOf(mapOf(8, 7, 3)), "at the bottom");
  assertEquals(placeOf(mapOf(1, 0, 0)), "at the top, left");
});
