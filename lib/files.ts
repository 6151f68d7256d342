/**
 * Files that are whole or absent: written under another name in the same folder, synced, renamed,
 * and the folder synced, so that neither a crash nor a full disk leaves half a file under the name.
 * Reading of small files from outside, and system errors in words.
 */
import { concat } from "./deps.ts";
import { UserError } from "./errors.ts";

let serial = 0;
/** The temporary files that this process is writing. */
const unfinished = new Set<string>();

/**
 * Writes a file at one stroke; an older file of that name stays intact until the new one is whole.
 * @param chunks the file's content, in order
 * @param beforeRename called when the new file is whole and synced, under another name still
 * @throws {UserError} if the disk is full, or the folder is absent or cannot be written to.
 */
export async function writeFileAtomic(
  path: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  beforeRename?: () => Promise<void>,
): Promise<void> {
  const [folder, name] = splitPath(path);
  const temporaryName = `.${name}.tmp-${Deno.pid}-${serial++}`;
  const temporary = `${folder}/${temporaryName}`;
  unfinished.add(temporaryName);
  try {
    const file = await Deno.open(temporary, { write: true, createNew: true });
    try {
      for await (const chunk of joined(chunks)) await writeFull(file, chunk);
      await file.sync();
    } finally {
      file.close();
    }
    await beforeRename?.();
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw ioError(error, "write", path);
  } finally {
    unfinished.delete(temporaryName);
  }
  await syncFolder(folder);
}

/**
 * Removes what interrupted calls of {@linkcode writeFileAtomic} left in a folder. Only for the one
 * process that writes there, since another's unfinished file would be lost.
 * @returns how many files were removed.
 */
export async function removeTemporaries(folder: string): Promise<number> {
  let removed = 0;
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (!isFile || !/^\..+\.tmp-\d+-\d+$/.test(name)) continue;
    // Not by the process id in the name: in a container every run may have the same.
    if (unfinished.has(name)) continue;
    await Deno.remove(`${folder}/${name}`);
    removed++;
  }
  return removed;
}

/** Chunks below this many bytes are written several at a time. */
const joinedBytes = 1 << 22;

/**
 * The same bytes in fewer chunks: each write takes a turn of the event loop, which a training step
 * may hold for seconds.
 */
async function* joined(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let small: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    if (bytes + chunk.length > joinedBytes) {
      if (bytes > 0) yield concat(small);
      [small, bytes] = [[], 0];
    }
    if (chunk.length > joinedBytes) {
      yield chunk;
      continue;
    }
    small.push(chunk);
    bytes += chunk.length;
  }
  if (bytes > 0) yield concat(small);
}

/** The most bytes that {@linkcode readSmallText} reads. */
const smallBytes = 1 << 20;

/**
 * Reads a text that should be small; a larger one is refused before memory is taken for it.
 * @throws {UserError} if it has over 1 MiB, or cannot be read; another error where it is absent.
 */
export async function readSmallText(path: string): Promise<string> {
  try {
    const { size } = await Deno.stat(path);
    if (size > smallBytes) {
      throw new UserError(`${path} has ${size} bytes, and more than 1 MiB is not read.`);
    }
    return await Deno.readTextFile(path);
  } catch (error) {
    const isAbsent = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    throw isAbsent ? error : ioError(error, "read", path);
  }
}

/** Writes all of `bytes`, however many calls it takes. */
export async function writeFull(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

/** Makes renames and new files in a folder survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open a folder as a file, and its file systems journal renames themselves.
  if (Deno.build.os === "windows") return;
  using directory = await Deno.open(folder);
  await directory.sync();
}

const waysOut: Record<string, string> = {
  ENOSPC: "the disk is full; free some space and start again",
  EDQUOT: "your quota on this disk is used up; free some space and start again",
  EFBIG: "the file would be larger than this system lets it be; choose another disk",
  EROFS: "the file system is read-only; choose another folder",
  EACCES: "this user has no permission; choose another folder or change its permissions",
  EPERM: "this user has no permission; choose another folder or change its permissions",
  ENOENT: "there is no such file or folder",
  ENOTDIR: "a part of the path is a file, not a folder",
  EISDIR: "it is a folder, not a file",
  EEXIST: "it exists already",
};

/**
 * A system error as a {@linkcode UserError} with the way out, when it is one that a user can mend;
 * any other error as it is.
 * @param action what was tried, as in "Cannot `action` PATH"
 */
export function ioError(error: unknown, action: string, path: string): unknown {
  if (!(error instanceof Error) || error instanceof UserError) return error;
  if (error instanceof Deno.errors.NotCapable) {
    const flag = action === "read" ? "--allow-read" : "--allow-write";
    return new UserError(
      `Cannot ${action} ${path}: Deno was started without that permission; start it with ${flag}.`,
      { cause: error },
    );
  }
  const code = (error as Error & { code?: string }).code ?? codeOfClass(error) ??
    codeOfNumber(error);
  const way = code === undefined ? undefined : waysOut[code];
  if (way === undefined) return error;
  return new UserError(`Cannot ${action} ${path}: ${way}.`, { cause: error });
}

function codeOfClass(error: Error): string | undefined {
  if (error instanceof Deno.errors.PermissionDenied) return "EACCES";
  if (error instanceof Deno.errors.NotFound) return "ENOENT";
  if (error instanceof Deno.errors.NotADirectory) return "ENOTDIR";
  if (error instanceof Deno.errors.IsADirectory) return "EISDIR";
  if (error instanceof Deno.errors.AlreadyExists) return "EEXIST";
  return undefined;
}

/** Codes by the system's numbers, for the errors to which Deno gives none. */
const numbered: Record<string, string> = Deno.build.os === "windows"
  ? { 19: "EROFS", 39: "ENOSPC", 112: "ENOSPC" }
  // 69 is BSD's and macOS's, 122 Linux's.
  : { 27: "EFBIG", 28: "ENOSPC", 30: "EROFS", 69: "EDQUOT", 122: "EDQUOT" };

/** Deno's message ends with the system's number, as in `File too large (os error 27)`. */
function codeOfNumber({ message }: Error): string | undefined {
  const [, number] = /\(os error (\d+)\)$/.exec(message) ?? [];
  return number === undefined ? undefined : numbered[number];
}

function splitPath(path: string): [folder: string, name: string] {
  const cut = Math.max(
    path.lastIndexOf("/"),
    Deno.build.os === "windows" ? path.lastIndexOf("\\") : -1,
  );
  if (cut < 0) return [".", path];
  return [cut === 0 ? "/" : path.slice(0, cut), path.slice(cut + 1)];
}
