import { assert, assertEquals } from "@std/assert";
import { parseAugmentations } from "../../lib/augment/list.ts";
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

Deno.test("docs/training.md has an example of each augmentation, and its description", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/training.md", import.meta.url));
  const section = page.split("\n## Augmentation\n")[1]!.split("\n## ")[0]!;
  const rows = [...section.matchAll(/^\| `([^`]+)` *\| (.*\S) +\|$/gm)];
  const described = rows.map(([, example, description]) => {
    return [parseAugmentations(example!)[0]!.name, description];
  });
  const expected = Object.entries(augmentations).map(([name, { description }]) => {
    return [name, description];
  });
  assertEquals(described, expected);
});
