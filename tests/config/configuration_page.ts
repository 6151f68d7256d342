/**
 * Writes the tables of fields in docs/configuration.md anew:
 * `deno run --allow-read --allow-write=docs tests/config/configuration_page.ts && deno fmt`.
 */
import { groups } from "../../lib/config/groups.ts";

/** The page. */
export const pagePath: URL = new URL("../../docs/configuration.md", import.meta.url);

const sections = Object.entries(groups).map(([name, fields]) => {
  const rows = Object.entries(fields).map(([key, { description }]) =>
    `| \`${key}\` | ${description?.replaceAll("|", "\\|")} |`
  );
  return [`### ${name}\n`, "| field | what it is, and when to turn it |", "| - | - |", ...rows, ""]
    .join("\n");
});

if (import.meta.main) {
  const page = await Deno.readTextFile(pagePath);
  const before = page.slice(0, page.indexOf("\n### "));
  await Deno.writeTextFile(pagePath, `${before}\n${sections.join("\n")}`);
}
