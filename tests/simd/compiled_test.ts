import { assertEquals } from "@std/assert";
import { compiled as bytesOf } from "../../lib/simd/compiled.ts";

Deno.test("compiled.ts is what the compiler makes of lib/simd/assembly", async () => {
  const { success, stderr } = await new Deno.Command("deno", {
    args: ["task", "build:simd", "--check"],
    cwd: new URL("../../", import.meta.url),
  }).output();
  assertEquals(success, true, new TextDecoder().decode(stderr));
});

Deno.test("the compiled kernels bring no data, which would lie in tfjs's heap", () => {
  const DATA_SECTION = 11;
  const compiled = bytesOf();
  for (let at = 8; at < compiled.length;) {
    assertEquals(compiled[at] === DATA_SECTION, false);
    let length = 0;
    let end = at + 1;
    for (let shift = 0;; shift += 7) {
      const byte = compiled[end++]!;
      length |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    at = end + length;
  }
});
