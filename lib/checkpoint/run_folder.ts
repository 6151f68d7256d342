/**
 * The folder of one run: `config.json`, `history.jsonl` (one record an epoch), `best.safetensors`,
 * `last.safetensors`, the states before it (see states.ts); `lock.json` while it is trained, and
 * `origin.json` where it began from other weights.
 */
import { parseRunConfig, type RunConfig, storedConfig } from "../config/run.ts";
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";
import { ioError, readSmallText, writeFileAtomic, writeFull } from "../files.ts";

// JSON has no NaN, and a run that diverged has such losses.
const metric = z.number().nullable();

const recordSchema = z.looseObject({
  /** From 1, as a person counts. */
  epoch: z.int().min(1),
  /** Optimizer steps since the run began. */
  step: z.int().min(0),
  loss: metric,
  /** 0 to 1, as all accuracies. */
  accuracy: metric,
  top5: metric,
  valLoss: metric.optional(),
  valAccuracy: metric.optional(),
  valTop5: metric.optional(),
  learningRate: z.number().optional(),
  /** Wall-clock seconds of the epoch, validation included. */
  seconds: z.number().optional(),
});

/** One epoch in `history.jsonl`; other fields may stand beside these. */
export type HistoryRecord = z.infer<typeof recordSchema>;

/** The files of a run. */
export interface RunFolder {
  /** The folder itself. */
  readonly path: string;
  /** Its configuration, JSON. */
  readonly config: string;
  /** One JSON record an epoch. */
  readonly history: string;
  /** The weights with the best val_accuracy. */
  readonly best: string;
  /** The newest whole state. */
  readonly last: string;
}

/** The paths of a run's files, whether they exist or not. */
export function runFolder(path: string): RunFolder {
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
 * Checks that a new run may have the folder, without making it.
 * @throws {UserError} if it exists and is not empty, is a file, or cannot be looked at.
 */
export async function checkRunFolderIsFree(path: string): Promise<void> {
  const entry = await entryOf(runFolder(path).path);
  if (entry === "file") {
    throw new UserError(`${path} is a file, not a folder; choose another place for the run.`);
  }
  if (entry === "folder") {
    throw new UserError(
      `The run folder ${path} exists and is not empty; choose another name or remove it first.`,
    );
  }
}

/**
 * Makes the folder of a new run, with its parents, and writes its configuration.
 * @param origin the file whose weights the run begins from, kept in `origin.json`; none for random
 * @throws {UserError} if the folder exists and is not empty, or cannot be made.
 */
export async function createRunFolder(
  path: string,
  config: RunConfig,
  origin?: string,
): Promise<RunFolder> {
  await checkRunFolderIsFree(path);
  const run = runFolder(path);
  try {
    await Deno.mkdir(run.path, { recursive: true });
  } catch (error) {
    throw ioError(error, "make", path);
  }
  // Before the configuration, which makes the folder a run that may be resumed.
  if (origin !== undefined) await writeJson(originPath(run), { initFrom: origin });
  await writeConfig(run, config);
  return run;
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
 */
export async function openRunFolder(path: string): Promise<{ run: RunFolder; config: RunConfig }> {
  const run = runFolder(path);
  let text: string;
  try {
    text = await readSmallText(run.config);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      throw new UserError(`${path} is not the folder of a run: it has no config.json.`);
    }
    throw error;
  }
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

/**
 * Appends one record to a history and syncs it; half a last line, left by a crash, is cut off
 * first.
 * @throws {UserError} if the file cannot be written.
 */
export async function appendHistory(path: string, record: HistoryRecord): Promise<void> {
  try {
    using file = await Deno.open(path, { read: true, write: true, create: true });
    const content = new TextDecoder().decode(await readAll(file));
    const whole = new TextEncoder().encode(content.slice(0, content.lastIndexOf("\n") + 1)).length;
    await file.truncate(whole);
    await file.seek(whole, Deno.SeekMode.Start);
    await writeFull(file, new TextEncoder().encode(JSON.stringify(record) + "\n"));
    await file.sync();
  } catch (error) {
    throw ioError(error, "write", path);
  }
}

/** A hundred thousand epochs; no run is so long. */
const maxHistoryBytes = 1 << 25;

/**
 * Reads a history; an absent file is an empty one, and half a last line is left out.
 * @throws {UserError} naming the line that is wrong, or if the file has over 32 MiB.
 */
export async function readHistory(path: string): Promise<HistoryRecord[]> {
  let text: string;
  try {
    const { size } = await Deno.stat(path);
    if (size > maxHistoryBytes) {
      throw new UserError(`${path} has ${size} bytes, more than 32 MiB; it is no history.`);
    }
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw ioError(error, "read", path);
  }
  const lines = text.split("\n");
  // What follows the last line feed was not written whole, even if it parses.
  lines.pop();
  return lines.map((line, index) => {
    try {
      return recordSchema.parse(JSON.parse(line));
    } catch {
      throw new UserError(
        `Line ${index + 1} of ${path} is no history record; remove that line or the file.`,
      );
    }
  });
}

/**
 * Drops the records after `epoch`: a run that resumes from a state writes them again.
 * @param epoch the last epoch to keep, counted from 1
 */
export async function rewindHistory(path: string, epoch: number): Promise<void> {
  const records = await readHistory(path);
  const kept = records.filter((record) => record.epoch <= epoch);
  if (kept.length === records.length) return;
  const text = kept.map((record) => JSON.stringify(record) + "\n").join("");
  await writeFileAtomic(path, [new TextEncoder().encode(text)]);
}

async function entryOf(path: string): Promise<"absent" | "empty" | "folder" | "file"> {
  try {
    if (!(await Deno.stat(path)).isDirectory) return "file";
    for await (const _ of Deno.readDir(path)) return "folder";
    return "empty";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "absent";
    throw ioError(error, "read", path);
  }
}

async function modificationTime(path: string): Promise<number> {
  try {
    return (await Deno.stat(path)).mtime?.getTime() ?? 0;
  } catch {
    return -Infinity;
  }
}

async function readAll(file: Deno.FsFile): Promise<Uint8Array> {
  const bytes = new Uint8Array((await file.stat()).size);
  for (let done = 0; done < bytes.length;) {
    const count = await file.read(bytes.subarray(done));
    if (count === null) return bytes.subarray(0, done);
    done += count;
  }
  return bytes;
}
