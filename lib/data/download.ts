/**
 * Fetches a large file so that nothing received is lost: bytes go to `<path>.part`, a broken
 * connection goes on where it stopped (also in a later run), and the file appears under its name
 * only when it is whole and has the right checksum.
 */
import { createHash } from "node:crypto";
import { UserError } from "../errors.ts";
import { openRegularFile, readSmallText, writeFull } from "../files.ts";
import { failureOf, type PartOrigin, receive, Refused, StartOver } from "./http.ts";
import { isPage } from "./identify.ts";
import { publicUrl } from "./public_url.ts";

/** Progress of a download. */
export interface DownloadProgress {
  /** Bytes received, those of earlier connections included. */
  received: number;
  /** Bytes in all; null where the server does not say. */
  total: number | null;
  /** Reason why the connection is being made again, where it is. */
  retry?: string;
}

/** Options of {@linkcode download}. */
export interface DownloadOptions {
  /** MD5 in hexadecimal that the file must have; anything is accepted without. */
  md5?: string;
  /** Another checksum that it must have instead; what has not is removed. */
  checksum?: Checksum;
  /** What the file is, with which errors end: `archive` by default. */
  what?: string;
  /** What to do where it cannot be had; by default to name it with `--data`. */
  wayOut?: string;
  /** Bytes that the file may have at most. */
  maxBytes: number;
  /** Told after every piece received. */
  onProgress?: (progress: DownloadProgress) => void;
  /** Connections in a row that may bring nothing new, and new beginnings in all; 5 by default. */
  attempts?: number;
  /** Waits before the given retry, counted from 1; by default 0.5, 1, 2, ... seconds. */
  wait?: (retry: number) => Promise<void>;
  /** Milliseconds over which the rate of a connection is measured; 60,000 by default. */
  stallTimeout?: number;
  /** Bytes a second, below which a connection counts as broken; 1000 by default. */
  leastRate?: number;
}

/** A checksum by which a file is known. */
export interface Checksum {
  /** `git` is the SHA-1 that git knows a file by: of its length and its bytes. */
  kind: "sha256" | "git";
  /** In hexadecimal. */
  hex: string;
}

/** Bytes that a connection must add, or it counts as one that brought nothing. */
const leastGain = 1 << 14;

/** Bytes by which a page is told from an archive. */
const headBytes = 512;

const exponentialWait = (retry: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, 250 * 2 ** retry));

/**
 * Fetches `url` into the file `path`.
 * @throws {UserError} if the server cannot be reached or refuses, if it sends a page, too much, too
 * slowly or each time something else, if the checksum is wrong (the bytes are then kept as
 * `<path>.wrong-md5`), or if `path` cannot be written. No message holds the URL's secrets.
 */
export async function download(url: string, path: string, options: DownloadOptions): Promise<void> {
  const { maxBytes, attempts = 5, wait = exponentialWait, onProgress } = options;
  const { stallTimeout = 60_000, leastRate = 1000 } = options;
  const md5 = options.md5?.toLowerCase();
  const { checksum, what = "archive" } = options;
  const { wayOut = "fetch it by other means and name the file with --data" } = options;
  const isChecked = md5 !== undefined || checksum !== undefined;
  const shown = publicUrl(url);
  const part = `${path}.part`;
  const originPath = `${part}.json`;
  {
    // Closed before the file is renamed, which some systems demand.
    using file = await writing(part, () => openPart(part));
    await refuseIrregular(originPath);
    let origin = await readOrigin(originPath);
    let received = (await file.stat()).size;
    // Without a validator only the checksum can tell that the two halves are of one file.
    const isOfUrl = origin?.url === shown && (origin.validator !== null || isChecked);
    if (!isOfUrl || received > maxBytes) received = 0;
    if (received === 0) origin = null;

    let most = received;
    let restarts = 0;
    let whyRestarted: string | undefined;
    for (let failures = 0;;) {
      const begin = performance.now();
      let isBegun = false;
      try {
        const connection = { url, offset: received, origin, isChecked, maxBytes };
        await receive({ ...connection, stallTimeout, leastRate }, async (answer) => {
          if (answer.start < received && ++restarts >= attempts) {
            throw new Refused(`the server let the download begin anew ${restarts} times`);
          }
          isBegun = true;
          received = answer.start;
          await writing(part, () => file.truncate(received));
          await file.seek(received, Deno.SeekMode.Start);
          origin = answer.origin;
          const text = JSON.stringify(origin);
          await writing(originPath, () => writeFlat(originPath, text));
          onProgress?.({ received, total: answer.total });
          for await (const chunk of answer.body) {
            const isHead = received < headBytes;
            await writing(part, () => writeFull(file, chunk));
            received += chunk.length;
            if (isHead && received >= headBytes) await refusePage(part, what);
            onProgress?.({ received, total: answer.total });
          }
          if (received < headBytes) await refusePage(part, what);
        });
        break;
      } catch (error) {
        if (error instanceof UserError) throw error;
        if (error instanceof StartOver || (error instanceof Refused && isBegun)) {
          received = 0;
          origin = null;
        }
        const { reason, isFinal } = failureOf(error, url);
        if (error instanceof StartOver) {
          restarts++;
          whyRestarted = reason;
        }
        const gain = received - most;
        const isProgress = gain >= leastGain &&
          gain >= (leastRate * (performance.now() - begin)) / 1000;
        failures = isProgress ? 1 : failures + 1;
        if (isProgress) most = received;
        if (isFinal || failures >= attempts || restarts >= attempts) {
          if (received === 0) {
            await Deno.remove(part).catch(() => {});
            await Deno.remove(originPath).catch(() => {});
          }
          throw new UserError(
            `Cannot download ${shown} (${isFinal ? reason : whyRestarted ?? reason}); ${
              isFinal ? "" : "run again to go on, or "
            }${wayOut}.`,
            { cause: error },
          );
        }
        onProgress?.({ received, total: null, retry: reason });
        await wait(failures);
      }
    }
    await writing(part, () => file.sync());
  }
  if (checksum) {
    const found = await checksumOfFile(part, checksum.kind);
    if (found !== checksum.hex) {
      for (const each of [part, originPath]) await Deno.remove(each).catch(() => {});
      throw new UserError(
        `${shown} has ${checksum.kind} ${found}, not ${checksum.hex} as its server says: it was ` +
          `damaged on its way; run again to fetch it anew, or ${wayOut}.`,
      );
    }
  }
  const found = md5 === undefined ? undefined : await md5OfFile(part);
  const isWrong = found !== md5;
  const kept = isWrong ? `${path}.wrong-md5` : path;
  await writing(kept, () => Deno.rename(part, kept));
  await Deno.remove(originPath).catch(() => {});
  if (isWrong) {
    throw new UserError(
      `${shown} has md5 ${found}, not ${md5}: it was damaged on its way (run again to fetch it ` +
        `anew), or the server has another packing of the files or another archive (if you trust ` +
        `it, say --data ${kept} --md5 ${found}).`,
    );
  }
}

/** MD5 of a file, in hexadecimal. */
export async function md5OfFile(
  path: string,
  onProgress?: (done: number) => void,
): Promise<string> {
  return await digestOfFile(path, "md5", () => "", onProgress);
}

/** The checksum of a file, in hexadecimal. */
export async function checksumOfFile(path: string, kind: Checksum["kind"]): Promise<string> {
  return kind === "git"
    ? await digestOfFile(path, "sha1", (bytes) => `blob ${bytes}\0`)
    : await digestOfFile(path, "sha256", () => "");
}

async function digestOfFile(
  path: string,
  algorithm: string,
  before: (bytes: number) => string,
  onProgress?: (done: number) => void,
): Promise<string> {
  const hash = createHash(algorithm);
  let done = 0;
  const { file, size } = await openRegularFile(path);
  using _ = file;
  hash.update(before(size));
  const buffer = new Uint8Array(1 << 20);
  for (let read = await file.read(buffer); read !== null; read = await file.read(buffer)) {
    hash.update(buffer.subarray(0, read));
    onProgress?.(done += read);
  }
  return hash.digest("hex");
}

/**
 * Runs something that writes `path`.
 * @throws {UserError} naming the path, whatever the file system's reason.
 */
export async function writing<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(
      `Cannot write ${path} (${(error as Error).message}); choose a folder that may be written to.`,
      { cause: error },
    );
  }
}

/** Opens the partial file for one process at a time; the lock goes with the process. */
async function openPart(part: string): Promise<Deno.FsFile> {
  await refuseIrregular(part);
  const file = await Deno.open(part, { read: true, write: true, create: true });
  if (await file.tryLock(true)) return file;
  file.close();
  throw new UserError(`Another process is downloading to ${part}; wait until it has finished.`);
}

async function writeFlat(path: string, text: string): Promise<void> {
  await refuseIrregular(path);
  await Deno.writeTextFile(path, text);
}

/** What is written must not go through a link to a file elsewhere, or into a device. */
async function refuseIrregular(path: string): Promise<void> {
  const info = await Deno.lstat(path).catch(() => null);
  if (info === null || info.isFile) return;
  throw new UserError(`${path} is not a regular file, so nothing is written to it; remove it.`);
}

/** A page of a login, an error or a search is what many servers send instead of a file. */
async function refusePage(part: string, what: string): Promise<void> {
  using file = await Deno.open(part);
  const head = new Uint8Array(headBytes);
  await file.read(head);
  if (isPage(head)) throw new Refused(`what the server sent is an HTML page and no ${what}`);
}

async function readOrigin(path: string): Promise<PartOrigin | null> {
  try {
    const { url, validator, total } = JSON.parse(await readSmallText(path));
    const isOrigin = typeof url === "string" &&
      (validator === null || (typeof validator === "string" && /^[ -~]*$/.test(validator))) &&
      (total === undefined || Number.isSafeInteger(total));
    return isOrigin ? { url, validator, ...(total !== undefined && { total }) } : null;
  } catch {
    return null;
  }
}
