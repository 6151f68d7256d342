/**
 * Fetches a large file so that nothing received is lost: bytes go to `<path>.part`, a broken
 * connection goes on where it stopped (also in a later run), and the file appears under its name
 * only when it is whole and has the right checksum.
 */
import { createHash } from "node:crypto";
import { UserError } from "../errors.ts";
import { openRegularFile, readSmallText } from "../files.ts";

/** How far a download is. */
export interface DownloadProgress {
  /** Bytes received, those of earlier connections included. */
  received: number;
  /** Bytes in all; null where the server does not say. */
  total: number | null;
  /** Why the connection is being made again, where it is. */
  retry?: string;
}

/** What {@linkcode download} may be told. */
export interface DownloadOptions {
  /** MD5 in hexadecimal that the file must have; anything is accepted without. */
  md5?: string;
  /** Told after every piece received. */
  onProgress?: (progress: DownloadProgress) => void;
  /** Connections in a row that may bring nothing; 5 by default. */
  attempts?: number;
  /** Waits before the given retry, counted from 1; by default 0.5, 1, 2, ... seconds. */
  wait?: (retry: number) => Promise<void>;
  /** Milliseconds without a byte after which the connection counts as broken; 60,000 by default. */
  stallTimeout?: number;
}

/** What must be known of a partial file to go on with it: it is kept beside it as JSON. */
interface PartOrigin {
  url: string;
  /** A strong ETag or a date, for `If-Range`; null where the server gave neither. */
  validator: string | null;
}

/** Trying again cannot help. */
class Refused extends Error {}

const exponentialWait = (retry: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, 250 * 2 ** retry));

/**
 * Fetches `url` into the file `path`.
 * @throws {UserError} if the server cannot be reached or refuses, if the checksum is wrong (the
 * bytes are then kept as `<path>.wrong-md5`), or if `path` cannot be written.
 */
export async function download(
  url: string,
  path: string,
  options: DownloadOptions = {},
): Promise<void> {
  const { attempts = 5, wait = exponentialWait, stallTimeout = 60_000, onProgress } = options;
  const md5 = options.md5?.toLowerCase();
  const part = `${path}.part`;
  const originPath = `${part}.json`;
  {
    // Closed before the file is renamed, which some systems demand.
    using file = await writing(part, () => openPart(part));
    let origin = await readOrigin(originPath);
    let received = (await file.stat()).size;
    // Without a validator only the checksum can tell that the two halves are of one file.
    if (origin?.url !== url || (origin.validator === null && !md5)) received = 0;

    for (let failures = 0;;) {
      const before = received;
      try {
        for await (const event of receive(url, received, origin, file, part, stallTimeout)) {
          if (event.origin) {
            origin = event.origin;
            const text = JSON.stringify(origin);
            await writing(originPath, () => Deno.writeTextFile(originPath, text));
          }
          received = event.received;
          onProgress?.({ received, total: event.total });
        }
        break;
      } catch (error) {
        if (error instanceof UserError) throw error;
        const reason = reasonOf(error);
        failures = received > before ? 1 : failures + 1;
        const hopeless = error instanceof Refused || error instanceof Deno.errors.NotCapable;
        if (hopeless || failures >= attempts) {
          if (received === 0) await Deno.remove(part).catch(() => {});
          throw new UserError(
            `Cannot download ${url} (${reason}); run again to go on, or fetch it by other means ` +
              `and name the file with --data.`,
            { cause: error },
          );
        }
        onProgress?.({ received, total: null, retry: reason });
        await wait(failures);
      }
    }
    await writing(part, () => file.sync());
  }
  const found = md5 === undefined ? undefined : await md5OfFile(part);
  const wrong = found !== md5;
  const kept = wrong ? `${path}.wrong-md5` : path;
  await writing(kept, () => Deno.rename(part, kept));
  await writing(originPath, () => Deno.remove(originPath));
  if (wrong) {
    throw new UserError(
      `${url} has md5 ${found}, not ${md5}; run again to fetch it anew, or accept what came with ` +
        `--data ${kept} --md5 ${found}.`,
    );
  }
}

/** MD5 of a file, in hexadecimal. */
export async function md5OfFile(
  path: string,
  onProgress?: (done: number) => void,
): Promise<string> {
  const hash = createHash("md5");
  let done = 0;
  const { file } = await openRegularFile(path);
  using _ = file;
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
  const file = await Deno.open(part, { read: true, write: true, create: true });
  if (await file.tryLock(true)) return file;
  file.close();
  throw new UserError(`Another process is downloading to ${part}; wait until it has finished.`);
}

interface ReceiveEvent {
  received: number;
  total: number | null;
  origin?: PartOrigin;
}

/** One connection: asks for what is missing after `offset` and appends it to the file. */
async function* receive(
  url: string,
  offset: number,
  origin: PartOrigin | null,
  file: Deno.FsFile,
  part: string,
  stallTimeout: number,
): AsyncGenerator<ReceiveEvent> {
  const abort = new AbortController();
  const stalled = () => abort.abort(new Error(`nothing came for ${stallTimeout / 1000} s`));
  let timer = setTimeout(stalled, stallTimeout);
  try {
    const headers = new Headers({ "accept-encoding": "identity" });
    if (offset > 0) {
      headers.set("range", `bytes=${offset}-`);
      if (origin?.validator) headers.set("if-range", origin.validator);
    }
    const response = await fetch(url, { headers, signal: abort.signal });
    if (response.status === 416 && totalOf(response) === offset) {
      await response.body?.cancel();
      yield { received: offset, total: offset };
      return;
    }
    if (response.status !== 200 && response.status !== 206) {
      await response.body?.cancel();
      // An impossible range is mended by starting over; other refusals stay refusals.
      if (response.status === 416) yield { received: 0, total: null };
      const text = `the server answered ${response.status} ${response.statusText}`.trim();
      const mayPass = response.status >= 500 || [408, 416, 429].includes(response.status);
      throw mayPass ? new Error(text) : new Refused(text);
    }
    let received = response.status === 206 ? offset : 0;
    if (response.status === 206 && startOf(response) !== offset) {
      await response.body?.cancel();
      yield { received: 0, total: null };
      throw new Error("the server sent another range than asked for");
    }
    const total = totalOf(response);
    await writing(part, () => file.truncate(received));
    await file.seek(received, Deno.SeekMode.Start);
    yield { received, total, origin: { url, validator: validatorOf(response) } };
    for await (const chunk of response.body ?? []) {
      clearTimeout(timer);
      timer = setTimeout(stalled, stallTimeout);
      await writing(part, () => writeAll(file, chunk));
      received += chunk.length;
      yield { received, total };
    }
    if (total !== null && received < total) {
      throw new Error(`the connection ended after ${received} of ${total} bytes`);
    }
  } finally {
    clearTimeout(timer);
  }
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    written += await file.write(bytes.subarray(written));
  }
}

/** The whole file's length by `Content-Range`, or by `Content-Length` of a whole answer. */
function totalOf(response: Response): number | null {
  const range = response.headers.get("content-range")?.match(/\/(\d+)$/)?.[1];
  const length = response.status === 200 ? response.headers.get("content-length") : null;
  const text = range ?? length;
  return text === null || text === undefined ? null : Number(text);
}

function startOf(response: Response): number | null {
  const start = response.headers.get("content-range")?.match(/^bytes (\d+)-/)?.[1];
  return start === undefined ? null : Number(start);
}

/** Weak tags are of no use for ranges (RFC 9110, section 13.1.5). */
function validatorOf(response: Response): string | null {
  const tag = response.headers.get("etag");
  return tag?.startsWith('"') ? tag : response.headers.get("last-modified");
}

async function readOrigin(path: string): Promise<PartOrigin | null> {
  try {
    return JSON.parse(await readSmallText(path)) as PartOrigin;
  } catch {
    return null;
  }
}

/** The innermost cause says what happened; fetch itself only says that it failed. */
function reasonOf(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  const message = inner instanceof Error ? inner.message : String(inner);
  return message.split(": ").slice(-2).join(": ");
}
