import { assertEquals } from "@std/assert";
import { sparkline } from "../../lib/report/sparkline.ts";

Deno.test("the lowest and the highest number are the lowest and the highest block", () => {
  assertEquals(sparkline([0.1, 0.2, 0.3, 0.8], 12), "▁▂▃█");
});

Deno.test("of more numbers than characters each block is a mean", () => {
  assertEquals(sparkline([0, 0, 1, 1, 0, 0, 7, 7], 4), "▁▂▁█");
});

Deno.test("equal numbers are a flat line, and none are nothing", () => {
  assertEquals([sparkline([5, 5], 12), sparkline([], 12)], ["▁▁", ""]);
});
