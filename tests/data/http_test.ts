/**
 * Servers that lie, dawdle, loop and break off, each on a loopback socket of its own. Whatever one
 * does, a download ends soon, in one sentence or with the right bytes, and what it leaves behind is
 * never taken for whole: an honest server on the same port completes it.
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { createHash } from "node:crypto";
import { download, type DownloadOptions } from "../../lib/data/download.ts";
import { failureOf } from "../../lib/data/http.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder, listing, withServer } from "./fixtures.ts";

const bytes = Uint8Array.from({ length: 40_000 }, (_, i) => Math.imul(i, 2654435761) >>> 13);
const size = bytes.length;
const half = size / 2;
const md5 = createHash("md5").update(bytes).digest("hex");
const other = bytes.map((byte) => byte ^ 255);

/**
 * What a server sends: text, bytes, the same bytes for ever (one after so many milliseconds, where
 * `every` is given), or silence until the client leaves.
 */
type Sent = string | Uint8Array | { forever: Uint8Array; every?: number } | "silence" | "reset";

interface Asked {
  /** Counted from 0. */
  n: number;
  path: string;
  head: string;
  /** The first byte asked for; undefined without a range. */
  from?: number;
}

type Answers = (asked: Asked, port: number) => Sent[];

interface Case {
  name: string;
  answers: Answers;
  /** What the error must say; the download must succeed without. */
  error?: string | RegExp;
  /** Requests at most; 6 by default. */
  requests?: number;
  /** What is in the folder after a failure; nothing by default. */
  left?: string[];
  options?: Partial<DownloadOptions>;
  /** The URL's path. */
  path?: string;
}

const head = (status: string, headers: Record<string, string | number> = {}) =>
  `HTTP/1.1 ${status}\r\nConnection: close\r\n` +
  Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("") + "\r\n";
const whole = (body = bytes, headers: Record<string, string | number> = {}): Sent[] => [
  head("200 OK", { ETag: '"1"', "Content-Length": body.length, ...headers }),
  body,
];
/** The first half of what was promised. */
const broken = (headers: Record<string, string | number> = {}): Sent[] => [
  head("200 OK", { ETag: '"1"', "Content-Length": size, ...headers }),
  bytes.subarray(0, half),
];
const part = (range: string, body: Uint8Array, headers: Record<string, string | number> = {}) => [
  head("206 Partial Content", {
    ETag: '"1"',
    "Content-Range": range,
    "Content-Length": body.length,
    ...headers,
  }),
  body,
];
const rest = (from: number) => part(`bytes ${from}-${size - 1}/${size}`, bytes.subarray(from));
const honest: Answers = ({ from }) => from === undefined ? whole() : rest(from);
const redirect = (location: string, status = "302 Found"): Sent[] => [
  head(status, { Location: location, "Content-Length": 0 }),
];
/** The first connection breaks half way; how the second is answered. */
const secondly = (answer: (asked: Asked) => Sent[]): Answers => (asked) =>
  asked.from === undefined ? broken() : answer(asked);
const kept = ["file.part", "file.part.json"];
const fast = { stallTimeout: 80, attempts: 2 };

const cases: Case[] = [
  // Ranges
  { name: "a part that goes on rightly", answers: secondly(({ from }) => rest(from!)) },
  {
    name: "another offset each time",
    answers: secondly(({ from, n }) => part(`bytes ${from! - 1 - n}-${size - 1}/${size}`, bytes)),
    error: "another range than asked for",
    requests: 10,
    left: kept,
  },
  {
    name: "another offset once",
    answers: (asked) =>
      asked.n === 0
        ? broken()
        : asked.n === 1
        ? part(`bytes 7-${size - 1}/${size}`, bytes.subarray(7))
        : honest(asked, 0),
    requests: 3,
  },
  {
    name: "a part with a new ETag",
    answers: (asked) =>
      asked.n === 0
        ? broken()
        : asked.n === 1
        ? part(`bytes ${half}-${size - 1}/${size}`, other.subarray(half), { ETag: '"2"' })
        : whole(bytes, { ETag: '"2"' }),
    requests: 3,
    options: { md5: undefined },
  },
  {
    name: "a new ETag each time",
    answers: ({ n, from }) =>
      from === undefined
        ? broken({ ETag: `"${n}"` })
        : part(`bytes ${from}-${size - 1}/${size}`, other.subarray(from), { ETag: `"${n}"` }),
    error: "has changed",
    requests: 10,
    left: kept,
  },
  {
    name: "the whole anew each time, and broken off each time",
    answers: ({ n }) => [...broken({ ETag: `"${n}"` })],
    error: "broke off",
    left: kept,
  },
  {
    name: "a part without a validator, unchecked",
    answers: ({ n, from }) =>
      n === 0 ? broken() : from !== undefined
        ? [
          head("206 Partial Content", { "Content-Range": `bytes ${from}-${size - 1}/${size}` }),
          bytes.subarray(from),
        ]
        : whole(),
    options: { md5: undefined },
    requests: 2,
  },
  {
    name: "a part of a file of another length",
    answers: (asked) =>
      asked.n === 0
        ? broken()
        : asked.n === 1
        ? part(`bytes ${half}-${size}/${size + 1}`, new Uint8Array(half + 1))
        : honest(asked, 0),
    requests: 3,
  },
  {
    name: "a part whose range ends before it begins",
    answers: secondly(() => part(`bytes ${half}-5/${size}`, bytes.subarray(half))),
    error: "another range",
    requests: 10,
    left: kept,
  },
  {
    name: "a part that ends behind its file",
    answers: secondly(() => part(`bytes ${half}-${size + 9}/${size}`, bytes.subarray(half))),
    error: "another range",
    requests: 10,
    left: kept,
  },
  {
    name: "a part without Content-Range",
    answers: secondly(() => [head("206 Partial Content"), bytes.subarray(half)]),
    error: "another range",
    requests: 10,
    left: kept,
  },
  {
    name: "a Content-Range of nonsense",
    answers: secondly(() => part("bytes x-y/z", bytes.subarray(half))),
    error: "another range",
    requests: 10,
    left: kept,
  },
  {
    name: "a Content-Range of an unknown length",
    answers: secondly(() => part(`bytes ${half}-${size - 1}/*`, bytes.subarray(half))),
    error: "another range",
    requests: 10,
    left: kept,
  },
  {
    name: "a part in several pieces (multipart)",
    answers: secondly(() => [
      head("206 Partial Content", { "Content-Type": "multipart/byteranges; boundary=x" }),
      "--x\r\n",
    ]),
    error: "another range",
    requests: 10,
    left: kept,
  },
  {
    name: "a part that was not asked for",
    answers: () => part(`bytes ${half}-${size - 1}/${size}`, bytes.subarray(half)),
    error: "another range",
  },
  {
    name: "a part longer than it says",
    answers: secondly(({ from }) => [
      head("206 Partial Content", {
        ETag: '"1"',
        "Content-Range": `bytes ${from}-${size - 1}/${size}`,
        "Transfer-Encoding": "chunked",
      }),
      { forever: new TextEncoder().encode("3e8\r\n" + "x".repeat(1000) + "\r\n") },
    ]),
    error: "more than the 40000 bytes",
    requests: 10,
    left: kept,
  },
  {
    name: "a part shorter than it says, each time the next",
    answers: ({ from = 0 }) =>
      from === 0
        ? broken()
        : part(`bytes ${from}-${size - 1}/${size}`, bytes.subarray(from, from + 5000), {
          "Content-Length": 5000,
        }),
    requests: 5,
  },
  {
    name: "one byte a connection",
    answers: ({ from = 0 }) => [
      ...part(`bytes ${from}-${size - 1}/${size}`, bytes.subarray(from, from + 1), {
        "Content-Length": size - from,
      }),
    ],
    error: "broke off",
    requests: 5,
    left: kept,
  },
  // 416
  {
    name: "416 to a request without a range",
    answers: () => [head("416 Range Not Satisfiable", { "Content-Range": "bytes */0" })],
    error: "the server answered 416",
    requests: 1,
  },
  {
    name: "416 to every range",
    answers: secondly(() => [head("416 Range Not Satisfiable", { "Content-Range": "bytes */7" })]),
    error: "no such part",
    requests: 10,
    left: kept,
  },
  {
    name: "416 that takes half a file for whole",
    answers: secondly(() => [
      head("416 Range Not Satisfiable", { ETag: '"2"', "Content-Range": `bytes */${half}` }),
    ]),
    error: "no such part",
    requests: 10,
    left: kept,
  },
  // Lengths
  {
    name: "a promise of too much",
    answers: () => whole(bytes, { "Content-Length": 10 ** 12 }),
    error: "the file has 1000000000000 bytes, and more than 100000 are not taken",
    requests: 1,
  },
  {
    name: "a range of a file of too much",
    answers: ({ from }) =>
      from === undefined
        ? [head("200 OK", { ETag: '"1"' }), bytes.subarray(0, half)]
        : part(`bytes ${from}-${10 ** 9 - 1}/${10 ** 9}`, bytes),
    error: /has md5/,
    left: ["file.wrong-md5"],
  },
  {
    name: "chunks without end",
    answers: () => [
      head("200 OK", { "Transfer-Encoding": "chunked" }),
      { forever: new TextEncoder().encode("3e8\r\n" + "x".repeat(1000) + "\r\n") },
    ],
    error: "more than 100000 bytes",
    requests: 1,
  },
  {
    name: "a body without end and without a length",
    answers: () => [head("200 OK"), { forever: new Uint8Array(1000) }],
    error: "more than 100000 bytes",
    requests: 1,
  },
  {
    name: "fewer bytes than promised, each time from the start",
    answers: () => broken(),
    error: "broke off",
    left: kept,
  },
  {
    name: "more bytes than promised",
    answers: () => [...whole(), "and more"],
  },
  {
    name: "a negative length",
    answers: () => whole(bytes, { "Content-Length": -3 }),
    error: "is not HTTP",
  },
  {
    name: "a length of 10^23",
    answers: () => whole(bytes, { "Content-Length": "100000000000000000000000" }),
    error: "is not HTTP",
  },
  {
    name: "two lengths",
    answers: () => whole(bytes, { "content-length": 5 }),
    error: "is not HTTP",
  },
  {
    name: "an empty file",
    answers: () => whole(new Uint8Array()),
    error: "is empty",
    requests: 1,
  },
  { name: "an empty body without a length", answers: () => [head("200 OK")], error: "no bytes" },
  {
    name: "chunks that stop in the middle",
    answers: () => [head("200 OK", { "Transfer-Encoding": "chunked" }), "5\r\nhello\r\n"],
    error: "the connection broke off",
    left: kept,
  },
  {
    name: "chunks whose length is no number",
    answers: () => [head("200 OK", { "Transfer-Encoding": "chunked" }), "zz\r\nhello\r\n"],
    error: "the connection broke off",
  },
  // Redirects
  {
    name: "a redirect to the file",
    answers: (asked, port) =>
      asked.path === "/file"
        ? redirect(`http://127.0.0.1:${port}/there`, "308 Permanent Redirect")
        : honest(asked, port),
    requests: 2,
  },
  {
    name: "a redirect by a relative address",
    answers: (asked, port) => asked.path === "/file" ? redirect("there") : honest(asked, port),
    requests: 2,
  },
  {
    name: "a redirect to itself",
    answers: () => redirect("/file"),
    error: "redirects in a circle",
    requests: 1,
  },
  {
    name: "a circle of two",
    answers: ({ path }) => redirect(path === "/file" ? "/b" : "/file"),
    error: "redirects in a circle",
    requests: 2,
  },
  {
    name: "redirects without end",
    answers: ({ n }) => redirect(`/${n}`),
    error: "redirects more than 10 times",
    requests: 11,
  },
  ...["file:///etc/passwd", "data:text/plain,x", "ftp://h/x", "javascript:1", "blob:x"].map(
    (location): Case => ({
      name: `a redirect to ${location}`,
      answers: () => redirect(location),
      error: `redirects to a ${location.split(":")[0]}: address`,
      requests: 1,
    }),
  ),
  {
    name: "a redirect to what is no URL",
    answers: () => redirect("http://"),
    error: "no URL",
    requests: 1,
  },
  {
    name: "a redirect without an address",
    answers: () => [head("302 Found")],
    error: "answered 302",
    requests: 1,
  },
  {
    name: "a redirect to a host that Deno may not reach",
    answers: () => redirect("http://user:secret@198.51.100.1/x"),
    error: "--allow-net=198.51.100.1:80",
    requests: 1,
  },
  // Answers of other kinds
  ...[
    "204 No Content",
    "304 Not Modified",
    "300 Multiple Choices",
    "202 Accepted",
    "401 Unauthorized",
  ].map(
    (status): Case => ({
      name: `the answer ${status}`,
      answers: () => [head(status)],
      error: `the server answered ${status}`,
      requests: 1,
    }),
  ),
  ...[
    "500 Internal Server Error",
    "503 Service Unavailable",
    "429 Too Many Requests",
    "408 Request Timeout",
  ].map((status): Case => ({
    name: `the answer ${status} each time`,
    answers: () => [head(status, { "Content-Length": 0 })],
    error: `the server answered ${status}`,
    requests: 5,
  })),
  {
    name: "an HTML page",
    answers: () => whole(new TextEncoder().encode("\ufeff\n<!DOCTYPE html><p>Please log in</p>")),
    error: "is an HTML page and no archive",
    requests: 1,
  },
  {
    name: "an HTML page in small pieces without a length",
    answers: () => [head("200 OK"), "<ht", "ml>", " ".repeat(1000)],
    error: "is an HTML page and no archive",
    requests: 1,
  },
  {
    name: "an error in XML, as stores of objects send it",
    answers: () => whole(new TextEncoder().encode('<?xml version="1.0"?><Error/>')),
    error: "is an HTML page and no archive",
    requests: 1,
  },
  {
    name: "the file under the label of gzip, as it is",
    answers: () => whole(bytes, { "Content-Encoding": "x-gzip" }),
  },
  {
    name: "brotli, which was not asked for",
    answers: () => whole(bytes, { "Content-Encoding": "br" }),
    error: "sends it packed as br",
    requests: 1,
  },
  {
    name: "another file",
    answers: () => whole(other),
    error: /has md5 [0-9a-f]{32}, not .* damaged on its way .* another packing/,
    left: ["file.wrong-md5"],
    requests: 1,
  },
  // Connections
  { name: "a reset before any answer", answers: () => ["reset"], error: "connection", requests: 9 },
  { name: "an end before any answer", answers: () => [], error: "ended before an answer" },
  { name: "an end within the headers", answers: () => ["HTTP/1.1 200 O"], error: "ended before" },
  { name: "no HTTP", answers: () => ["SSH-2.0-x\r\n\r\n"], error: "is not HTTP" },
  {
    name: "headers without end",
    answers: () => ["HTTP/1.1 200 OK\r\n", {
      forever: new TextEncoder().encode(`X-${"x".repeat(999)}: y\r\n`),
    }],
    error: "is not HTTP",
  },
  {
    name: "silence instead of an answer",
    answers: () => ["silence"],
    error: "nothing came for 0.08 s",
    options: fast,
    requests: 2,
  },
  {
    name: "silence after the headers",
    answers: () => [head("200 OK", { "Content-Length": size }), "silence"],
    error: "nothing came for 0.08 s",
    options: fast,
    requests: 2,
  },
  {
    name: "a byte now and then",
    answers: () => [
      head("200 OK", { "Content-Length": size }),
      { forever: new Uint8Array(1), every: 10 },
    ],
    error: "less than 1000 bytes a second came for 0.08 s",
    options: fast,
    requests: 2,
    left: kept,
  },
  {
    name: "a byte now and then in each part",
    answers: ({ from = 0 }) => [
      from === 0
        ? head("200 OK", { ETag: '"1"', "Content-Length": size })
        : head("206 Partial Content", {
          ETag: '"1"',
          "Content-Range": `bytes ${from}-${size - 1}/${size}`,
        }),
      { forever: bytes.subarray(from), every: 10 },
    ],
    error: "less than 1000 bytes a second",
    options: { ...fast, attempts: 3 },
    requests: 3,
    left: kept,
  },
];

/** A server of raw bytes; what it answers may be changed while it runs. */
class RawServer implements AsyncDisposable {
  answers: Answers = honest;
  requests = 0;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly port = (this.#listener.addr as Deno.NetAddr).port;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #served = this.#serve();

  async #serve(): Promise<void> {
    const conversations: Promise<void>[] = [];
    for await (const connection of this.#listener) {
      this.#open.add(connection);
      conversations.push(
        // The client may leave at any point.
        this.#talk(connection).catch(() => {}).finally(() => this.#close(connection)),
      );
    }
    await Promise.all(conversations);
  }

  async #talk(connection: Deno.TcpConn): Promise<void> {
    const n = this.requests++;
    const buffer = new Uint8Array(4096);
    const probe = this.answers({ n, path: "/file", head: "" }, this.port);
    // A connection that is closed with bytes unread is reset.
    if (probe[0] === "reset") return;
    let text = "";
    while (!text.includes("\r\n\r\n")) {
      const count = await connection.read(buffer);
      if (count === null) return;
      text += new TextDecoder().decode(buffer.subarray(0, count));
    }
    const from = /^range: bytes=(\d+)-/im.exec(text)?.[1];
    const path = text.split(" ")[1]!;
    const asked = { n, path, head: text, from: from === undefined ? undefined : Number(from) };
    for (const sent of this.answers(asked, this.port)) {
      if (sent === "reset") return;
      if (sent === "silence") await connection.read(buffer);
      else if (typeof sent === "string") await write(connection, new TextEncoder().encode(sent));
      else if (sent instanceof Uint8Array) await write(connection, sent);
      else {
        const { forever, every } = sent;
        for (let i = 0;; i = (i + 1) % forever.length) {
          await write(connection, every ? forever.subarray(i, i + 1) : forever);
          if (every) await new Promise((resolve) => setTimeout(resolve, every));
        }
      }
    }
  }

  #close(connection: Deno.TcpConn): void {
    if (this.#open.delete(connection)) connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#open) this.#close(connection);
    await this.#served;
  }
}

async function write(connection: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await connection.write(bytes.subarray(done));
}

for (const { name, answers, error, requests = 6, left = [], options, path = "/file" } of cases) {
  Deno.test(`HTTP: ${name}`, () =>
    inFolder(async (folder) => {
      await using server = new RawServer();
      server.answers = answers;
      const file = `${folder}/file`;
      const all = { maxBytes: 100_000, md5, wait: () => Promise.resolve() };
      const told: string[] = [];
      const onProgress = ({ retry = "" }) => void told.push(retry);
      const url = (user: string) => `http://${user}127.0.0.1:${server.port}${path}`;
      let failure: unknown;
      try {
        await download(url("user:secret@"), file, { ...all, onProgress, ...options });
      } catch (thrown) {
        failure = thrown;
      }
      assert(server.requests <= requests, `${server.requests} requests`);
      if (error === undefined) {
        if (failure !== undefined) throw failure;
        assertEquals(await listing(folder), ["file"]);
        assertEquals(await Deno.readFile(file), bytes);
        return;
      }
      if (!(failure instanceof UserError)) throw failure ?? new Error("nothing was refused");
      const { message } = failure;
      if (typeof error === "string") assertStringIncludes(message, error);
      else assertMatch(message, error);
      assertMatch(message, /^[\x20-\x7e]+\.$/);
      assert(!/secret|user:/.test(message + told.join()), message);
      assertEquals(await listing(folder), left);
      for (const each of left) {
        assert(!(await Deno.readTextFile(`${folder}/${each}`)).includes("secret"), each);
      }
      server.answers = honest;
      await download(url(""), file, all);
      assertEquals(await Deno.readFile(file), bytes);
    }));
}

/** A certificate of nobody's for 127.0.0.1, valid for a hundred years, and its key. */
const self = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBkTCCATagAwIBAgIUXw4Fx8DYRTliQCwwjfX3ZM0nBK0wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyNTE4MjcyOVoYDzIxMjYxMTAx
MTgyNzI5WjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS8CbAcGLD2FKpvFzg830XatLZhD0sa6HekrePvimDfIXEz8PB2gIq8
2P6ozRsWbrQfIuUdX55cbe+DH3NJ/9RPo2QwYjAdBgNVHQ4EFgQUS3AxyQl6zwWY
YWpMs9nKWl1Nb8owHwYDVR0jBBgwFoAUS3AxyQl6zwWYYWpMs9nKWl1Nb8owDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0kAMEYC
IQDxH9KOzKjql8higYZHA+qLNazUntuT/3ibhCkKN2uQoAIhAJrHE06mPjb03tGJ
HJjCErWDrc76DnF55qRi/TjD19zz
-----END CERTIFICATE-----
`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQguv6DUHJY4HPUg62w
dY5WlT8tLlg7pM6lYBl9MzWBdt+hRANCAAS8CbAcGLD2FKpvFzg830XatLZhD0sa
6HekrePvimDfIXEz8PB2gIq82P6ozRsWbrQfIuUdX55cbe+DH3NJ/9RP
-----END PRIVATE KEY-----
`,
};

Deno.test("HTTP: a certificate that nobody vouches for is refused at once", () =>
  inFolder(async (folder) => {
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {}, ...self },
      () => new Response(bytes),
    );
    let retries = 0;
    const wait = () => Promise.resolve(void retries++);
    const url = `https://127.0.0.1:${server.addr.port}/file`;
    await assertRejects(
      () => download(url, `${folder}/file`, { maxBytes: 1e6, wait }),
      UserError,
      `the certificate of 127.0.0.1:${server.addr.port} is not trusted`,
    );
    assertEquals([retries, await listing(folder)], [0, []]);
    await server.shutdown();
  }));

Deno.test("HTTP: a server without TLS is named", () =>
  inFolder((folder) =>
    withServer(() => new Response(""), async (url) => {
      const secure = url.replace("http:", "https:");
      await assertRejects(
        () => download(secure, `${folder}/file`, { maxBytes: 1e6 }),
        UserError,
        `${new URL(url).host} does not speak TLS`,
      );
      assertEquals(await listing(folder), []);
    })
  ));

// No name may be looked up by the tests, so these are the words of Deno 2.9.6.
const deno =
  "error sending request for url (http://u:secret@nowhere.invalid/x?key=1): client error ";
for (
  const [name, words, reason] of [
    [
      "an unknown host",
      "(Connect): dns error: failed to lookup address information: Name or service not known",
      "no address of nowhere.invalid is known; is there a network?",
    ],
    [
      "a route that is missing",
      "(Connect): tcp connect error: No route to host (os error 113)",
      "tcp connect error: No route to host (os error 113)",
    ],
  ] as const
) {
  Deno.test(`HTTP: ${name}`, () => {
    const cause = new Error(deno + words);
    const error = new TypeError("fetch failed", { cause });
    const failure = failureOf(error, "http://u:secret@nowhere.invalid/x?key=1");
    assertEquals(failure, { reason, isFinal: false });
  });
}
