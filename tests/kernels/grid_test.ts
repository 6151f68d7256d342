import { assert, assertEquals } from "@std/assert";
import { gridOf } from "../../lib/kernels/grid.ts";

Deno.test("a grid has room for all blocks within WebGPU's limit, and little more", () => {
  for (const count of [1, 2, 65535, 65536, 65537, 131071, 1_000_003, 65535 * 300 + 1]) {
    const [x, y, z] = gridOf(count);
    assert(x <= 65535 && y <= 65535 && z === 1, `${x} x ${y}`);
    assert(x * y >= count && x * y - count < y, `${x} x ${y} for ${count}`);
  }
  assertEquals(gridOf(65535), [65535, 1, 1]);
});

Deno.test("a grid for nothing is empty", () => {
  assertEquals(gridOf(0)[0], 0);
});
