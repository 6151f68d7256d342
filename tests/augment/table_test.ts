import { assert } from "@std/assert";
import { augmentations } from "../../lib/augment/table.ts";

Deno.test("no two augmentations of a stream share a number of an image", () => {
  const taken = new Set<string>();
  for (const [name, { draws }] of Object.entries(augmentations)) {
    const { stream, ofImage, first, count } = draws;
    for (let n = first; n < first + count; n++) {
      assert(n < ofImage && !taken.has(`${stream}/${n}`), `${name} takes ${n} of ${stream}`);
      taken.add(`${stream}/${n}`);
    }
  }
});
