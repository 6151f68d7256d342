/**
 * Files written and read with care, as others may have made or changed them.
 *
 * Written: a new file is whole or absent. It is made under another name in the same folder, synced,
 * renamed, and the folder synced, so that neither a crash nor a full disk leaves half a file under
 * the name. A file that is changed in place is a regular one with no other name, since a link would
 * lead the writing out of its folder. Deno has no O_NOFOLLOW, so what the name leads to is compared
 * with what was opened, before the first byte is changed.
 *
 * Read: only regular files, which end and do not block, and of these no more than the reader asked
 * for. What a name leads to is looked at before it is opened: opening a fifo alone waits for ever.
 */
import { concat } from "./deps.ts";
import { UserError } from "./errors.ts";
import { ioError, isAbsent, shownPath, systemCode } from "./io_error.ts";

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
  let temporary: Temporary | undefined;
  try {
    temporary = await createTemporary(folder, name);
    try {
      for await (const chunk of joined(chunks)) await writeFull(temporary.file, chunk);
      await temporary.file.sync();
    } finally {
      temporary.file.close();
    }
    await beforeRename?.();
    await Deno.rename(temporary.path, path);
  } catch (error) {
    if (temporary) await Deno.remove(temporary.path).catch(() => {});
    throw ioError(error, "write", path);
  } finally {
    if (temporary) unfinished.delete(temporary.name);
  }
  await syncFolder(folder);
}

/** A file that is being written, and is in {@linkcode unfinished}. */
interface Temporary {
  name: string;
  path: string;
  file: Deno.FsFile;
}

/** Makes a file that was not there, and that no link can stand for. */
async function createTemporary(folder: string, name: string): Promise<Temporary> {
  while (true) {
    const temporaryName = `.${name}.tmp-${Deno.pid}-${serial++}`;
    const path = `${folder}/${temporaryName}`;
    unfinished.add(temporaryName);
    try {
      const file = await Deno.open(path, { write: true, createNew: true });
      return { name: temporaryName, path, file };
    } catch (error) {
      unfinished.delete(temporaryName);
      // Left by a killed process that had the same id, as in a container.
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
}

/** Whether a folder's entry is what an interrupted call of {@linkcode writeFileAtomic} left. */
export function isTemporary({ name, isFile }: Deno.DirEntry): boolean {
  return isFile && /^\..+\.tmp-\d+-\d+$/.test(name);
}

/**
 * Removes what interrupted calls of {@linkcode writeFileAtomic} left in a folder. Only for the one
 * process that writes there, since another's unfinished file would be lost.
 * @returns how many files were removed.
 * @throws {UserError} if the folder cannot be read, or a file not removed.
 */
export async function removeTemporaries(folder: string): Promise<number> {
  let removed = 0;
  for (const entry of await readFolder(folder)) {
    // Not by the process id in the name: in a container every run may have the same.
    if (!isTemporary(entry) || unfinished.has(entry.name)) continue;
    await removeFile(`${folder}/${entry.name}`);
    removed++;
  }
  return removed;
}

/**
 * Contents of a folder.
 * @throws {UserError} if it cannot be read.
 */
export async function readFolder(folder: string): Promise<Deno.DirEntry[]> {
  try {
    return await Array.fromAsync(Deno.readDir(folder));
  } catch (error) {
    throw ioError(error, "read", folder);
  }
}

/**
 * Removes a file; one that is not there is no fault.
 * @throws {UserError} if it cannot be removed.
 */
export async function removeFile(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!isAbsent(error)) throw ioError(error, "remove", path);
  }
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

/** Writes all of `bytes`, however many calls it takes. */
export async function writeFull(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

/**
 * Makes renames and new files in a folder survive a power cut.
 * @throws {UserError} if the system reports that it could not.
 */
export async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open a folder as a file, and its file systems journal renames themselves.
  if (Deno.build.os === "windows") return;
  try {
    using directory = await Deno.open(folder);
    await directory.sync();
  } catch (error) {
    // So say file systems that know no syncing of folders; there is nothing to be done there.
    if (["EINVAL", "ENOTSUP", "EBADF"].includes(systemCode(error)!)) return;
    throw ioError(error, "write", folder);
  }
}

/**
 * Opens a file to be read and changed in place, and makes it where it is absent. Its content stays.
 * @throws {UserError} if it is a link, has a second name, or is no regular file: writing there might
 * write elsewhere; or if it cannot be opened.
 */
export async function openInPlace(path: string): Promise<Deno.FsFile> {
  while (true) {
    const named = await lstatOrNull(path);
    if (named) assertOwn(named, path);
    let file: Deno.FsFile;
    try {
      file = await Deno.open(path, { read: true, write: true, createNew: named === null });
    } catch (error) {
      // Made or removed by another between the look and the opening.
      if (named === null && error instanceof Deno.errors.AlreadyExists) continue;
      if (named !== null && error instanceof Deno.errors.NotFound) continue;
      throw ioError(error, "write", path);
    }
    try {
      const opened = await file.stat();
      assertOwn(opened, path);
      if (await isNamed(opened, path)) return file;
    } catch (error) {
      file.close();
      throw ioError(error, "write", path);
    }
    file.close();
  }
}

/**
 * Whether a path is, by itself and not through a link, the name of an open file.
 * @param opened what the open file says of itself
 * @throws {UserError} if the path cannot be looked at.
 */
export async function isNamed(opened: Deno.FileInfo, path: string): Promise<boolean> {
  const named = await lstatOrNull(path);
  // On Windows both numbers are null, and an open file keeps its name.
  return named !== null && !named.isSymlink && named.ino === opened.ino && named.dev === opened.dev;
}

async function lstatOrNull(path: string): Promise<Deno.FileInfo | null> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw ioError(error, "read", path);
  }
}

function assertOwn(info: Deno.FileInfo, path: string): void {
  if (!info.isFile) throw notRegular(path, kindOf(info));
  if ((info.nlink ?? 1) > 1) {
    throw new UserError(
      `${shownPath(path)} is the same file as another one (a hard link), which would be changed ` +
        `with it; put a copy in its place.`,
    );
  }
}

/** Name of what a directory entry is, with its article, where it is no regular file. */
export function kindOf(
  entry: Pick<Deno.FileInfo, "isDirectory" | "isSymlink"> & Partial<Deno.FileInfo>,
): string {
  if (entry.isSymlink) return "a link";
  if (entry.isDirectory) return "a folder";
  if (entry.isFifo) return "a fifo";
  if (entry.isSocket) return "a socket";
  if (entry.isCharDevice || entry.isBlockDevice) return "a device";
  return "a special file";
}

/** The refusal of what is no regular file. */
export function notRegular(path: string, kind: string): UserError {
  return new UserError(
    `${
      shownPath(path)
    } is ${kind}, not a regular file, so it is not used; put a file in its place ` +
      `or name another one.`,
  );
}

/**
 * Opens a regular file for reading; a link to one will do.
 * @returns the open file and its length in bytes.
 * @throws {UserError} naming what it is, if it is a folder, a device, a fifo or a socket, or if it
 * cannot be opened; {@linkcode isAbsent} tells of one that is not there.
 */
export async function openRegularFile(path: string): Promise<{ file: Deno.FsFile; size: number }> {
  let file: Deno.FsFile | undefined;
  try {
    const named = await Deno.stat(path);
    if (!named.isFile) throw notRegular(path, kindOf(named));
    file = await Deno.open(path);
    const opened = await file.stat();
    if (!opened.isFile) throw notRegular(path, kindOf(opened));
    return { file, size: opened.size };
  } catch (error) {
    file?.close();
    throw ioError(error, "read", path);
  }
}

/**
 * Reads a regular file of no more than so many bytes; a longer one is refused before memory is
 * taken for it, and of one that grows meanwhile no more is read.
 * @param what what it should be, with its article, as in "of `what` no more is read"
 * @throws {UserError} if it is longer, no regular file, or cannot be read; {@linkcode isAbsent}
 * tells of one that is not there.
 */
export async function readBoundedFile(
  path: string,
  maxBytes: number,
  what: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const { file, size } = await openRegularFile(path);
  using _ = file;
  return await readBounded(file, size, maxBytes, path, what);
}

/** As {@linkcode readBoundedFile}, from the beginning of an open file of `size` bytes. */
export async function readBounded(
  file: Pick<Deno.FsFile, "read">,
  size: number,
  maxBytes: number,
  path: string,
  what: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const tooLong = (bytes: number | string) =>
    new UserError(
      `${shownPath(path)} has ${bytes} bytes, and of ${what} no more than ${
        shownBytes(maxBytes)
      } ` +
        `is read; name another file.`,
    );
  if (size > maxBytes) throw tooLong(size);
  let bytes = new Uint8Array(size);
  let done = 0;
  try {
    while (true) {
      // What follows the last byte shows a file that goes on, such as one that says it has none.
      const room = done < bytes.length ? bytes.subarray(done) : new Uint8Array(4096);
      const count = await file.read(room);
      if (count === null) return done === bytes.length ? bytes : bytes.slice(0, done);
      if (done + count > maxBytes) throw tooLong(`over ${maxBytes}`);
      if (done === bytes.length) {
        const longer = new Uint8Array(Math.min(Math.max(2 * done, done + count), maxBytes));
        longer.set(bytes);
        longer.set(room.subarray(0, count), done);
        bytes = longer;
      }
      done += count;
    }
  } catch (error) {
    throw ioError(error, "read", path);
  }
}

function shownBytes(bytes: number): string {
  if (bytes % (1 << 20) === 0) return `${bytes >> 20} MiB`;
  return bytes % (1 << 10) === 0 ? `${bytes >> 10} KiB` : `${bytes} bytes`;
}

/** The most bytes that {@linkcode readSmallText} reads. */
const smallBytes = 1 << 20;

/**
 * Reads a text that should be small; a larger one is refused before memory is taken for it.
 * @throws {UserError} if it has over 1 MiB, is no regular file, or cannot be read; another error
 * where it is absent.
 */
export async function readSmallText(path: string): Promise<string> {
  try {
    return new TextDecoder().decode(await readBoundedFile(path, smallBytes, "a small text"));
  } catch (error) {
    throw isAbsent(error) ? (error as UserError).cause : error;
  }
}

function splitPath(path: string): [folder: string, name: string] {
  const cut = Math.max(
    path.lastIndexOf("/"),
    Deno.build.os === "windows" ? path.lastIndexOf("\\") : -1,
  );
  if (cut < 0) return [".", path];
  return [cut === 0 ? "/" : path.slice(0, cut), path.slice(cut + 1)];
}
