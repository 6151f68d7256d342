/**
 * One trainer a run: a file in the run's folder that its process holds locked.
 *
 * The lock is the operating system's own, which ends with the process however that ends, so a stale
 * lock cannot hold anybody up and a process id that came to another process cannot mislead. What
 * the file says (who, since when) is only for people.
 */
import { UserError } from "../errors.ts";
import { isNamed, openInPlace, writeFull } from "../files.ts";
import { ioError } from "../io_error.ts";

/** A lock that this process holds. */
export interface RunLock extends AsyncDisposable {
  /** The process that held it last and ended without giving it back; undefined if none did. */
  readonly takenFrom?: number;
  /** False where the file system has no locks: nobody is kept out. */
  readonly isHeld: boolean;
  /**
   * Checks that the folder is still the one that was locked: another may have been put in its
   * place, and what is saved there would be lost.
   * @throws {UserError} if the lock's file is gone from its path.
   */
  check(): Promise<void>;
  /** Removes the file and lets others in; does nothing the second time. */
  release(): Promise<void>;
}

/** The lock's file in a run's folder. */
export function lockPath(folder: string): string {
  return `${folder}/lock.json`;
}

/**
 * Locks a run's folder for this process.
 * @throws {UserError} naming the folder and the process that trains there, or when the file cannot
 * be written, or is a link.
 *
 * @example
 * ```ts
 * import { createRunFolder, lockRun, preset } from "../../mod.ts";
 *
 * const path = `${await Deno.makeTempDir()}/run`;
 * await createRunFolder(path, preset("tiny"));
 * await using lock = await lockRun(path);
 * console.log(lock.isHeld); // true: another process that trains here is refused
 * ```
 */
export async function lockRun(folder: string): Promise<RunLock> {
  const path = lockPath(folder);
  while (true) {
    // A file may be left from a process that was killed.
    const file = await openInPlace(path);
    try {
      const isHeld = await tryLock(file, folder);
      // Its last owner may have removed the file between our opening and our locking it.
      if (!await isNamed(await file.stat(), path)) {
        file.close();
        continue;
      }
      const takenFrom = ownerOf(await readText(file))?.pid;
      const lock = heldLock(file, folder, isHeld, takenFrom);
      await writeOwner(file).catch(async (error) => {
        if (isHeld) await lock.release();
        throw error;
      });
      return lock;
    } catch (error) {
      close(file);
      throw ioError(error, "write", path);
    }
  }
}

function heldLock(
  file: Deno.FsFile,
  folder: string,
  isHeld: boolean,
  takenFrom: number | undefined,
): RunLock {
  const path = lockPath(folder);
  let released = false;
  const check = async () => {
    if (released || await isNamed(await statOf(file, path), path)) return;
    throw new UserError(
      `The run ${folder} was moved, removed or replaced while it was trained; put it back and go ` +
        `on with --resume, or start a new run.`,
    );
  };
  const release = async () => {
    if (released) return;
    released = true;
    // Removed before it is unlocked, or another might lock a file that then goes away. Windows
    // removes no file that is open.
    const windows = Deno.build.os === "windows";
    const isOurs = await file.stat().then((info) => isNamed(info, path)).catch(() => false);
    if (windows) file.close();
    if (isOurs) await Deno.remove(path).catch(() => {});
    if (!windows) file.close();
  };
  return { takenFrom, isHeld, check, release, [Symbol.asyncDispose]: release };
}

/** Locks the file; false where the file system cannot. */
async function tryLock(file: Deno.FsFile, folder: string): Promise<boolean> {
  let locked: boolean;
  try {
    locked = await file.tryLock(true);
  } catch {
    return false;
  }
  if (locked) return true;
  // Where locks are mandatory the owner's text cannot be read.
  const owner = ownerOf(await readText(file).catch(() => ""));
  const who = owner ? `process ${owner.pid} (since ${owner.since})` : "another process";
  throw new UserError(
    `The run ${folder} is being trained by ${who}; wait for it, stop it, or train in another folder.`,
  );
}

async function writeOwner(file: Deno.FsFile): Promise<void> {
  const owner = { pid: Deno.pid, since: new Date().toISOString() };
  await file.truncate(0);
  await file.seek(0, Deno.SeekMode.Start);
  await writeFull(file, new TextEncoder().encode(JSON.stringify(owner) + "\n"));
}

function statOf(file: Deno.FsFile, path: string): Promise<Deno.FileInfo> {
  return file.stat().catch((error) => {
    throw ioError(error, "read", path);
  });
}

/** Closes a file that may be closed already. */
function close(file: Deno.FsFile): void {
  try {
    file.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

async function readText(file: Deno.FsFile): Promise<string> {
  const bytes = new Uint8Array(4096);
  const count = await file.read(bytes) ?? 0;
  return new TextDecoder().decode(bytes.subarray(0, count));
}

/** Owner that a lock file names; undefined where it says nothing that can be used. */
function ownerOf(text: string): { pid: number; since: string } | undefined {
  try {
    const { pid, since } = JSON.parse(text);
    const isTime = typeof since === "string" && !Number.isNaN(Date.parse(since));
    return Number.isSafeInteger(pid) && isTime ? { pid, since } : undefined;
  } catch {
    return undefined;
  }
}
