/**
 * The folder of one run: `config.json`, `history.jsonl` (one line an epoch), `best.safetensors`,
 * `last.safetensors`, the states before it (see states.ts); `lock.json` while it is trained, and
 * `origin.json` where it began from other weights.
 */
import { parseRunConfig, type RunConfig, storedConfig } from "../config/run.ts";
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";
import {
  isTemporary,
  kindOf,
  readFolder,
  readSmallText,
  removeFile,
  removeTemporaries,
  writeFileAtomic,
} from "../files.ts";
import { ioError, isAbsent, shownPath } from "../io_error.ts";
import { lockRun, type RunLock } from "./lock.ts";

/** The files of a run. */
export interface RunFolder {
  /** The folder itself. */
  readonly path: string;
  /** Its configuration, JSON. */
  readonly config: string;
  /** One line of JSON an epoch. */
  readonly history: string;
  /** The weights with the best val_accuracy. */
  readonly best: string;
  /** The newest whole state. */
  readonly last: string;
}

/**
 * The paths of a run's files, whether they exist or not.
 * @throws {UserError} if the path is empty.
 */
export function runFolder(path: string): RunFolder {
  if (path === "") {
    throw new UserError('The folder of a run cannot be ""; name one, such as runs/my-run.');
  }
  const root = path.replace(/(?<=.)\/+$/, "");
  return {
    path: root,
    config: `${root}/config.json`,
    history: `${root}/history.jsonl`,
    best: `${root}/best.safetensors`,
    last: `${root}/last.safetensors`,
  };
}

/**
 * Checks that a new run may have the folder, without making it. What a process leaves that is
 * killed before its run has a configuration does not count.
 * @throws {UserError} if it exists and is not empty, is a file, or cannot be looked at.
 */
export async function checkRunFolderIsFree(path: string): Promise<void> {
  const run = runFolder(path);
  const entry = await entryOf(run);
  if (entry === "file") {
    throw new UserError(
      `${shownPath(path)} is a file, not a folder; choose another place for the run.`,
    );
  }
  if (entry === "full") {
    throw new UserError(
      `The run folder ${
        shownPath(path)
      } exists and is not empty; choose another name or remove it ` +
        `first.`,
    );
  }
}

/**
 * Makes the folder of a new run, with its parents, and writes its configuration.
 * @param origin the file whose weights the run begins from, kept in `origin.json`; none for random
 * @throws {UserError} if the folder exists and is not empty, or cannot be made.
 *
 * @example
 * ```ts
 * import { createRunFolder, preset } from "../../mod.ts";
 *
 * const path = `${await Deno.makeTempDir()}/run`;
 * const { config, best } = await createRunFolder(path, preset("tiny"));
 * console.log(config, best); // …/config.json …/best.safetensors
 * ```
 */
export async function createRunFolder(
  path: string,
  config: RunConfig,
  origin?: string,
): Promise<RunFolder> {
  const { run, lock } = await startRun(path, config, origin);
  await lock.release();
  return run;
}

/**
 * Makes the folder of a new run as {@linkcode createRunFolder} does, and keeps it locked.
 * @returns the run and its lock, to be released in the end.
 * @throws {UserError} if the folder exists and is not empty, cannot be made, or another process
 * makes a run there; a folder that was made for it is removed.
 */
export async function startRun(
  path: string,
  config: RunConfig,
  origin?: string,
): Promise<{ run: RunFolder; lock: RunLock }> {
  await checkRunFolderIsFree(path);
  const run = runFolder(path);
  try {
    await Deno.mkdir(run.path, { recursive: true });
  } catch (error) {
    throw ioError(error, "make", path);
  }
  let lock: RunLock | undefined;
  let isOurs = false;
  try {
    lock = await lockRun(run.path);
    await removeTemporaries(run.path);
    // Another process may have made a run here since the check.
    await checkRunFolderIsFree(path);
    isOurs = true;
    // Before the configuration, which makes the folder a run that may be resumed.
    if (origin !== undefined) await writeJson(originPath(run), { initFrom: origin });
    else await removeFile(originPath(run));
    await writeConfig(run, config);
    return { run, lock };
  } catch (error) {
    await lock?.release();
    if (isOurs || !lock) await removeUnusedRun(run);
    throw error;
  }
}

/** The files of a run that has saved nothing yet. */
const unsaved = ["config.json", "origin.json", "steps.jsonl", "strip.png"];

/**
 * Removes the folder of a run that has saved nothing, so that its name may be used again; does
 * nothing where the folder holds anything else, is trained by another process, or cannot be
 * removed.
 */
export async function removeUnusedRun(run: RunFolder): Promise<void> {
  try {
    const unused = (entry: Deno.DirEntry) =>
      isTemporary(entry) || [...unsaved, "lock.json"].includes(entry.name);
    if (!(await readFolder(run.path)).every(unused)) return;
    const lock = await lockRun(run.path);
    // The lock's file goes last, that nobody finds half of a run.
    for (const name of unsaved) await removeFile(`${run.path}/${name}`);
    await removeTemporaries(run.path);
    await lock.release();
    await Deno.remove(run.path);
  } catch {
    // What ended the run is the error to report.
  }
}

/** The file whose weights a run began from; undefined for random ones. */
export async function readOrigin(run: RunFolder): Promise<string | undefined> {
  let text: string;
  try {
    text = await readSmallText(originPath(run));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  try {
    return z.object({ initFrom: z.string() }).parse(JSON.parse(text)).initFrom;
  } catch {
    throw new UserError(`${originPath(run)} does not say what the run began from.`);
  }
}

function originPath(run: RunFolder): string {
  return `${run.path}/origin.json`;
}

/**
 * Writes a run's configuration, in place of an older one.
 * @throws {UserError} if the file cannot be written.
 */
export async function writeConfig(run: RunFolder, config: RunConfig): Promise<void> {
  await writeJson(run.config, storedConfig(config));
}

async function writeJson(path: string, value: unknown): Promise<void> {
  const text = JSON.stringify(value, null, 2) + "\n";
  await writeFileAtomic(path, [new TextEncoder().encode(text)]);
}

/**
 * Opens the folder of an existing run and reads its configuration.
 * @throws {UserError} if there is no run, or its configuration is not valid.
 *
 * @example
 * ```ts
 * import { createRunFolder, openRunFolder, preset } from "../../mod.ts";
 *
 * const path = `${await Deno.makeTempDir()}/run`;
 * await createRunFolder(path, preset("tiny"));
 * const { run, config } = await openRunFolder(path);
 * console.log(run.path === path, config.pooling); // true mean
 * ```
 */
export async function openRunFolder(path: string): Promise<{ run: RunFolder; config: RunConfig }> {
  const run = runFolder(path);
  await checkRunFiles(run);
  const text = await readSmallText(run.config).catch((error) => {
    throw ioError(error, "read", run.config);
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UserError(`${run.config} is not valid JSON.`);
  }
  try {
    return { run, config: parseRunConfig(value) };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`${run.config} cannot be used: ${error.message}`);
  }
}

/** The files of a run by name; of states there are several. */
const runFiles =
  /^((config|origin|lock|test)\.json|(history|steps)\.jsonl|strip\.png|(best|last|step-\d+)\.safetensors)$/;

/**
 * Checks that a folder is a run's, and that what has the name of one of its files is one: a link
 * might lead to anything, and be written through.
 */
async function checkRunFiles(run: RunFolder): Promise<void> {
  const shown = shownPath(run.path);
  const entries = await readFolder(run.path).catch((error) => {
    if (!isAbsent(error)) throw error;
    throw new UserError(`${shown} is not the folder of a run: it has no config.json.`);
  });
  for (const entry of entries) {
    if (entry.isFile || !runFiles.test(entry.name)) continue;
    const path = `${run.path}/${entry.name}`;
    const kind = kindOf(await Deno.lstat(path).catch(() => entry));
    throw new UserError(
      `${shownPath(path)} is ${kind}, and the files of a run are regular files of its own; put a ` +
        `copy in its place or remove it.`,
    );
  }
  if (entries.some(({ name }) => name === "config.json")) return;
  if (entries.length > 0 && entries.every(isBeforeRun)) {
    throw new UserError(
      `${shown} holds no run: the one that was to be made there ended before it had begun; start ` +
        `it with --out ${shown}.`,
    );
  }
  throw new UserError(`${shown} is not the folder of a run: it has no config.json.`);
}

/** Whether an entry may be left of a run that was ended before it had a configuration. */
function isBeforeRun(entry: Deno.DirEntry): boolean {
  return isTemporary(entry) ||
    (entry.isFile && (entry.name === "lock.json" || entry.name === "origin.json"));
}

/**
 * The run under `root` whose files changed last, undefined if there is none.
 * @param root a folder of run folders, `runs` for example
 */
export async function latestRun(root: string): Promise<string | undefined> {
  let latest: { path: string; time: number } | undefined;
  try {
    for await (const { name } of Deno.readDir(root)) {
      const run = runFolder(`${root}/${name}`);
      const time = Math.max(
        ...await Promise.all([run.config, run.history, run.last].map(modificationTime)),
      );
      if (await modificationTime(run.config) === -Infinity) continue;
      // Names decide between equal times, so that the answer does not hang on the folder's order.
      if (
        latest === undefined || time > latest.time ||
        (time === latest.time && run.path > latest.path)
      ) {
        latest = { path: run.path, time };
      }
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw ioError(error, "read", root);
  }
  return latest?.path;
}

async function entryOf({ path }: RunFolder): Promise<"free" | "full" | "file"> {
  try {
    if (!(await Deno.stat(path)).isDirectory) return "file";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "free";
    throw ioError(error, "read", path);
  }
  return (await readFolder(path)).every(isBeforeRun) ? "free" : "full";
}

async function modificationTime(path: string): Promise<number> {
  try {
    return (await Deno.stat(path)).mtime?.getTime() ?? 0;
  } catch {
    return -Infinity;
  }
}
