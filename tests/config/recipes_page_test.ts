/** The page of recipes names options and presets that exist. */
import { assert, assertEquals } from "@std/assert";
import { parseRunConfig, preset, runFieldTypes } from "../../lib/config/run.ts";

const page = await Deno.readTextFile(new URL("../../docs/recipes.md", import.meta.url));

Deno.test("docs/recipes.md names only options of train", () => {
  const options = [...page.matchAll(/--([a-z][a-z-]*)/g)].map(([, name]) => name!);
  assert(options.length > 20);
  for (const option of options) {
    const key = option.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    assert(key === "preset" || Object.hasOwn(runFieldTypes, key), `--${option}`);
  }
});

Deno.test("the preset of the long recipe is one that parses, with what the page says of it", () => {
  const { tokenizer, localityAttention, schedule, dropPath } = parseRunConfig(preset("strong"));
  assertEquals([tokenizer, localityAttention, schedule, dropPath], [
    "shifted",
    true,
    "cosine",
    0.1,
  ]);
});
