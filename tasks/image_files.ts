/** The images that a command line names: files, folders, globs and standard input. */
import { globToRegExp, isGlob } from "@std/path";
import { readBounded } from "../lib/files.ts";
import { FolderScan } from "../lib/data/folder_scan.ts";
import { decodeImage } from "../lib/data/image/decode.ts";
import { maxFileBytes, readImageFile } from "../lib/data/image/read.ts";
import type { RgbImage } from "../lib/data/image/rgb_image.ts";
import { UserError } from "../lib/errors.ts";
import { ioError, shownPath } from "../lib/io_error.ts";

/** The word for standard input. */
const standardInput = "-";

/**
 * The files that words mean, one by one: a folder means all pictures below it, in the order of their
 * paths, and a pattern that no file is called by what it matches.
 * @returns for a word that means no picture the reason
 */
export async function* imageFiles(
  words: readonly string[],
): AsyncGenerator<string | UserError> {
  let hasRead = false;
  for (const word of words) {
    let found = 0;
    if (word === standardInput && hasRead) {
      yield new UserError("- is standard input, which can be read but once; leave out the others.");
      continue;
    }
    hasRead ||= word === standardInput;
    try {
      for await (const path of filesOf(word)) {
        found++;
        yield path;
      }
      if (found === 0) {
        const what = isGlob(word) ? "No file matches" : "There are no pictures in";
        yield new UserError(`${what} ${shownPath(word)}; name others.`);
      }
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      yield error;
    }
  }
}

/**
 * Reads one of {@linkcode imageFiles}, with no more pixels than it takes, as preparing a data set does.
 * @param size side in pixels of the data set's images
 * @throws {UserError} naming the file, if it cannot be read or is no image
 */
export async function readImage(path: string, size: number): Promise<RgbImage> {
  const options = { atLeast: size };
  if (path !== standardInput) return await readImageFile(path, options);
  const name = "standard input";
  return await decodeImage(
    await readBounded(Deno.stdin, 0, maxFileBytes, name, "a picture"),
    name,
    options,
  );
}

async function* filesOf(word: string): AsyncGenerator<string> {
  const info = word === standardInput ? null : await Deno.stat(word).catch(() => null);
  if (info?.isDirectory) {
    const root = await Deno.realPath(word).catch((error) => {
      throw ioError(error, "read", word);
    });
    const scan = new FolderScan(root.replaceAll("\\", "/"));
    for (const { name } of await scan.pictures("", 0)) yield within(word, name);
    return;
  }
  // What is not there is named when it is read.
  if (info || !isGlob(word)) return yield word;
  const parts = word.split("/");
  const first = parts.findIndex(isGlob);
  const base = parts.slice(0, first).join("/");
  yield* matching(first > 0 && base === "" ? "/" : base, parts.slice(first));
}

/** Files below a folder that a pattern's parts match, in the order of their names. */
async function* matching(folder: string, [part, ...rest]: string[]): AsyncGenerator<string> {
  if (part === undefined) return;
  const isDeep = part === "**";
  if (isDeep) yield* matching(folder, rest);
  const pattern = globToRegExp(part, { globstar: false });
  let names: string[];
  try {
    names = (await Array.fromAsync(Deno.readDir(folder || "."))).map(({ name }) => name);
  } catch (error) {
    throw ioError(error, "read", folder || ".");
  }
  for (const name of names.sort()) {
    // As in a shell, a hidden name is matched by a pattern alone that begins with a dot.
    if (name.startsWith(".") && !part.startsWith(".")) continue;
    const path = within(folder, name);
    if (isDeep) {
      // A link may lead round in a circle.
      if ((await Deno.lstat(path)).isDirectory) yield* matching(path, [part, ...rest]);
      continue;
    }
    if (!pattern.test(name)) continue;
    const info = await Deno.stat(path).catch(() => null);
    if (rest.length === 0 && info?.isFile) yield path;
    else if (rest.length > 0 && info?.isDirectory) yield* matching(path, rest);
  }
}

function within(folder: string, name: string): string {
  return folder === "" ? name : folder.endsWith("/") ? `${folder}${name}` : `${folder}/${name}`;
}
