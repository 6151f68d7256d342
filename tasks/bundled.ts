/** Programs for browsers, made by Deno's own bundler. */
import { fromFileUrl } from "@std/path";
import { UserError } from "../lib/errors.ts";

/**
 * One module of a module and all that it imports, for browsers.
 * @throws {UserError} when it cannot be made, as the first time without a network: Deno fetches its
 * bundler from npm
 */
export async function bundled(entry: URL): Promise<Uint8Array<ArrayBuffer>> {
  const reasons: string[] = [];
  try {
    const { outputFiles, errors } = await Deno.bundle({
      entrypoints: [fromFileUrl(entry)],
      platform: "browser",
      minify: true,
      write: false,
    });
    const program = outputFiles?.[0]?.contents;
    if (program) return Uint8Array.from(program);
    reasons.push(...errors.map(({ text }) => text));
  } catch (error) {
    reasons.push(error instanceof Error ? error.message : String(error));
  }
  throw new UserError(
    `Deno cannot bundle the page's program: ${reasons[0]?.split("\n")[0]}; ` +
      `deno task bundle says more.`,
  );
}
