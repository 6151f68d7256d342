import { assert } from "@std/assert";
import { augmentations } from "../../lib/augment/table.ts";

Deno.test("no two augmentations of a stream share a number of an image", () => {
  const taken = new Set<string>();
  for (const [name, augmentation] of Object.entries(augmentations)) {
    // A batch is mixed once, by streams that are no image's.
    if (augmentation.kind === "mix") continue;
    const { stream, ofImage, first, count } = augmentation.draws;
    for (let n = first; n < first + count; n++) {
      assert(n < ofImage && !taken.has(`${stream}/${n}`), `${name} takes ${n} of ${stream}`);
      taken.add(`${stream}/${n}`);
    }
  }
});
