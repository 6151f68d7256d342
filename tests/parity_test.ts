import { assertEquals } from "@std/assert";
import { forEachBackend } from "./backends.ts";
import { failures, parityErrors } from "./parity.ts";

for (const name of ["small-flatten", "small-mean"]) {
  forEachBackend(`${name}.safetensors agrees with float64 reference values`, async () => {
    const path = new URL(`golden/${name}.safetensors`, import.meta.url).pathname;
    const errors = await parityErrors(path);
    assertEquals(failures(errors), []);
    // Tokens, logits, loss, and for every parameter a gradient and two results of AdamW.
    const parameters = errors.filter((error) => error.name.startsWith("grad.")).length;
    assertEquals(errors.length, 3 + 3 * parameters);
  });
}
