/** The page on configuration says of each field what the command line says. */
import { assertEquals } from "@std/assert";
import { groups } from "../../lib/config/groups.ts";
import { presets } from "../../lib/config/presets.ts";
import { modelConfigOf } from "../../lib/config/run.ts";
import { architectureOf } from "../../lib/models/architecture.ts";
import { pagePath } from "./configuration_page.ts";

const page = await Deno.readTextFile(pagePath);

/** The cells of the rows whose first cell is code, by that. */
function rowsOf(text: string): [string, string][] {
  return [...text.matchAll(/^\| `([^`]+)`[^|]*\| (.*\S) +\|$/gm)].map(([, first, rest]) => {
    return [first!, rest!.replaceAll("\\|", "|")];
  });
}

Deno.test("docs/configuration.md describes each field of each group as --help does", () => {
  for (const [name, fields] of Object.entries(groups)) {
    const section = page.split(`\n### ${name}\n`)[1]?.split("\n#")[0] ?? "";
    const described = Object.entries(fields).map(([key, field]) => [key, field.description!]);
    assertEquals(rowsOf(section), described, `group ${name}; configuration_page.ts writes it anew`);
  }
});

Deno.test("docs/configuration.md names each preset and its number of parameters", () => {
  const rows = new Map(rowsOf(page.split("\n## ")[0]!));
  for (const [name, config] of Object.entries(presets)) {
    const count = architectureOf(modelConfigOf(config)).parameters.toLocaleString("en");
    assertEquals(rows.get(name)?.includes(`| ${count} `), true, `${name} has ${count}`);
  }
});
