/**
 * One connection of a download: what is asked, which answers are believed, and when it counts as
 * dead. Nothing a server says is trusted further than it can be checked: a part must begin where
 * it was asked to, belong to the file whose beginning is here, and end where it said.
 */
import { printable } from "../shown.ts";
import { publicUrl, withPublicUrls } from "./public_url.ts";

/** Facts of a partial file by which it is gone on with: it is kept beside it as JSON. */
export interface PartOrigin {
  /** Without its secrets. */
  url: string;
  /** A strong ETag or a date, for `If-Range`; null where the server gave neither. */
  validator: string | null;
  /** The whole file's bytes; absent where the server did not say. */
  total?: number;
}

/** Wishes to one connection. */
export interface Connection {
  /** With user and password, where it has them. */
  url: string;
  /** Bytes that are here already. */
  offset: number;
  /** Origin of those bytes; null where there are none. */
  origin: PartOrigin | null;
  /** Whether a checksum will tell if two halves belong together. */
  isChecked: boolean;
  /** Bytes that the file may have at most. */
  maxBytes: number;
  /** Milliseconds over which a rate is measured. */
  stallTimeout: number;
  /** Bytes a second, below which the connection counts as dead. */
  leastRate: number;
}

/** An answer that brings bytes. */
export interface Answer {
  /** The first of the file's bytes that it brings: the offset asked for, or 0. */
  start: number;
  /** Bytes of the whole file; null where the server does not say. */
  total: number | null;
  /** Facts to go on by, should the connection break. */
  origin: PartOrigin;
  /** The bytes; ends with an error where the connection breaks, dawdles or brings too much. */
  body: AsyncIterable<Uint8Array>;
}

/** Trying again cannot help. */
export class Refused extends Error {}

/** Bytes here that do not go together with what the server has: only starting over can help. */
export class StartOver extends Error {}

const mostRedirects = 10;

/**
 * Asks for what is missing after `offset` and hands the answer to `use`; the connection ends with
 * it.
 * @returns false if the server says that nothing is missing, in which case `use` is not called.
 * @throws {Refused} if trying again cannot help, {@linkcode StartOver} if the bytes that are here
 * are of no use, another error if the connection broke.
 */
export async function receive(
  connection: Connection,
  use: (answer: Answer) => Promise<void>,
): Promise<boolean> {
  const { offset, origin, isChecked, maxBytes } = connection;
  const abort = new AbortController();
  using pace = new Pace(connection, abort);
  try {
    const headers = new Headers({ "accept-encoding": "identity" });
    if (offset > 0) {
      headers.set("range", `bytes=${offset}-`);
      if (origin?.validator) headers.set("if-range", origin.validator);
    }
    const response = await fetchHttp(connection.url, headers, abort.signal);
    checkEncoding(response);
    const { status } = response;
    const validator = validatorOf(response);
    const isSameFile = offset === 0 ||
      (validator === null
        ? isChecked || (status === 206 && origin?.validator !== null)
        : validator === origin?.validator);
    if (status === 416 && offset > 0) {
      if (isSameFile && rangeOf(response).total === offset) return false;
      throw new StartOver("the server has no such part");
    }
    if (status !== 200 && status !== 206) {
      const text = `the server answered ${status} ${printable(response.statusText)}`.trim();
      const mayPass = status >= 500 || status === 408 || status === 429;
      throw mayPass ? new Error(text) : new Refused(text);
    }
    let total: number | null;
    if (status === 206) {
      const range = rangeOf(response);
      if (range.start !== offset) {
        throw new StartOver("the server sent another range than asked for");
      }
      if (!isSameFile) throw new StartOver("the file on the server has changed");
      if (range.total === null || range.total !== (origin?.total ?? range.total)) {
        throw new StartOver("the server tells another length of the file than before");
      }
      total = range.total;
    } else {
      const length = response.headers.get("content-length");
      total = length === null ? null : Number(length);
    }
    if (total === 0) throw new Refused("the file on the server is empty");
    if (total !== null && total > maxBytes) {
      throw new Refused(`the file has ${total} bytes, and more than ${maxBytes} are not taken`);
    }
    const start = status === 206 ? offset : 0;
    const body = bounded(response, start, total, maxBytes, pace);
    await use({
      start,
      total,
      origin: { url: publicUrl(connection.url), validator, ...(total !== null && { total }) },
      body,
    });
    return true;
  } finally {
    // Also of an answer that was not read to its end.
    abort.abort();
  }
}

/** The body's pieces; ends well only when the body has as many bytes as was said. */
async function* bounded(
  response: Response,
  start: number,
  total: number | null,
  maxBytes: number,
  pace: Pace,
): AsyncGenerator<Uint8Array> {
  let received = start;
  for await (const chunk of response.body ?? []) {
    received += chunk.length;
    pace.count(chunk.length);
    if (total !== null && received > total) {
      throw new StartOver(`the server sent more than the ${total} bytes that it had promised`);
    }
    if (received > maxBytes) {
      throw new Refused(`the server sends more than ${maxBytes} bytes, and more are not taken`);
    }
    yield chunk;
  }
  if (total !== null && received < total) {
    throw new Error(`the connection ended after ${received} of ${total} bytes`);
  }
  if (received === 0) throw new Error("the server sent no bytes");
}

/** Follows redirects itself, since where they may lead is our business. */
async function fetchHttp(url: string, headers: Headers, signal: AbortSignal): Promise<Response> {
  const seen = new Set<string>();
  for (let at = new URL(url);;) {
    seen.add(at.href);
    const response = await fetch(at, { headers, signal, redirect: "manual" });
    const location = response.headers.get("location");
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response;
    await response.body?.cancel();
    if (!URL.canParse(location, at.href)) {
      throw new Refused("the server redirects to what is no URL");
    }
    const next = new URL(location, at);
    if (next.protocol !== "http:" && next.protocol !== "https:") {
      throw new Refused(
        `the server redirects to a ${next.protocol} address, and only http: and https: are fetched`,
      );
    }
    if (at.protocol === "https:" && next.protocol === "http:") {
      throw new Refused(`the server redirects from https: to http: (${publicUrl(next.href)})`);
    }
    if (seen.has(next.href)) throw new Refused("the server redirects in a circle");
    if (seen.size > mostRedirects) {
      throw new Refused(`the server redirects more than ${mostRedirects} times`);
    }
    at = next;
  }
}

/**
 * Deno unpacks nothing that was asked for as it is. `gzip` is let through, since some servers say
 * so of every `.gz` file; where they mean it, the checksum or the unpacking tells.
 */
function checkEncoding(response: Response): void {
  const encoding = response.headers.get("content-encoding")?.trim().toLowerCase() ?? "";
  if (["", "identity", "gzip", "x-gzip"].includes(encoding)) return;
  throw new Refused(
    `the server sends it packed as ${printable(encoding)}, which was not asked for`,
  );
}

/** `Content-Range`, null where it does not say. */
function rangeOf(response: Response): { start: number | null; total: number | null } {
  const text = response.headers.get("content-range") ?? "";
  const [, start, end, total] = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(text) ?? [];
  if (Number(start) <= Number(end) && Number(end) < Number(total)) {
    return { start: Number(start), total: Number(total) };
  }
  const [, whole] = /^bytes \*\/(\d{1,15})$/.exec(text) ?? [];
  return { start: null, total: whole === undefined ? null : Number(whole) };
}

/** Weak tags are of no use for ranges (RFC 9110, section 13.1.5). */
function validatorOf(response: Response): string | null {
  const tag = response.headers.get("etag");
  return tag?.startsWith('"') ? tag : response.headers.get("last-modified");
}

/** Ends a connection that brings too little over a window of time, the wait for it included. */
class Pace {
  /** Bytes of each quarter of the window. */
  readonly #quarters = [0, 0, 0, 0];
  #ticks = 0;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor({ stallTimeout, leastRate }: Connection, abort: AbortController) {
    const seconds = stallTimeout / 1000;
    this.#timer = setInterval(() => {
      const bytes = this.#quarters.reduce((sum, each) => sum + each, 0);
      if (++this.#ticks >= 4 && bytes < Math.max(1, leastRate * seconds)) {
        abort.abort(
          new Error(
            bytes === 0
              ? `nothing came for ${seconds} s`
              : `less than ${leastRate} bytes a second came for ${seconds} s`,
          ),
        );
      }
      this.#quarters[this.#ticks % 4] = 0;
    }, stallTimeout / 4);
  }

  count(bytes: number): void {
    this.#quarters[this.#ticks % 4]! += bytes;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Words of a failed connection that a person understands; the first that fits is taken. */
const words: [RegExp, (host: string) => string][] = [
  [/dns error/, (host) => `no address of ${host} is known; is there a network?`],
  [/Connection refused/, (host) => `${host} refused the connection`],
  [/connection closed before message completed/, () => "the connection ended before an answer"],
  [/Connection reset/, () => "the connection was reset"],
  [/error reading a body/, () => "the connection broke off"],
  [
    /invalid (HTTP|content-length|chunk|header)|SendRequest/,
    (host) => `what ${host} answered is not HTTP`,
  ],
];

/** Failures that stay: the first that fits is taken. */
const finalWords: [RegExp, (host: string) => string][] = [
  [/certificate/i, (host) => `the certificate of ${host} is not trusted`],
  [/InvalidContentType|corrupt message/, (host) => `${host} does not speak TLS; is it http:?`],
  [/Requests to port \d+ are blocked/, (host) => `the port of ${host} is not one for HTTP`],
];

/** Reason why a connection failed, in words, and whether it is in vain to try again. */
export function failureOf(error: unknown, url: string): { reason: string; isFinal: boolean } {
  const { host } = new URL(url);
  if (error instanceof Deno.errors.NotCapable) {
    const asked = /access to "([^"]+)"/.exec(error.message)?.[1] ?? host;
    return {
      reason: `Deno was started without the permission to reach ${asked}; ` +
        `start it with --allow-net=${asked} too`,
      isFinal: true,
    };
  }
  if (error instanceof Refused) return { reason: error.message, isFinal: true };
  // The innermost cause says what happened; fetch itself only says that it failed.
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  const message = inner instanceof Error ? inner.message : String(inner);
  for (const [pattern, word] of finalWords) {
    if (pattern.test(message)) return { reason: word(host), isFinal: true };
  }
  // Only what fetch says is put into other words.
  if (inner instanceof TypeError || inner !== error) {
    for (const [pattern, word] of words) {
      if (pattern.test(message)) return { reason: word(host), isFinal: false };
    }
  }
  const text = withPublicUrls(message).split(": ").slice(-2).join(": ");
  return { reason: printable(text), isFinal: false };
}
