import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import {
  download as downloadAny,
  type DownloadOptions,
  type DownloadProgress,
} from "../../lib/data/download.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder, listing, serveBytes, withServer } from "./fixtures.ts";

const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => Math.imul(i, 2654435761) >>> 13);
const md5 = createHash("md5").update(bytes).digest("hex");
const download = (url: string, path: string, options: Partial<DownloadOptions> = {}) =>
  downloadAny(url, path, { maxBytes: 1e6, ...options });
const atOnce = { wait: () => Promise.resolve() };

/** A server that breaks each of its first connections off after some bytes. */
class BreakingServer {
  readonly ranges: (string | null)[] = [];
  readonly listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly url = `http://127.0.0.1:${(this.listener.addr as Deno.NetAddr).port}/file`;
  readonly #served: Promise<void>;

  constructor(breaks: number[], options: { ignoreRange?: boolean; etag?: () => string } = {}) {
    this.#served = this.#serve(breaks, options);
  }

  async #serve(
    breaks: number[],
    { ignoreRange = false, etag = () => '"1"' }: { ignoreRange?: boolean; etag?: () => string },
  ): Promise<void> {
    for await (const connection of this.listener) {
      const buffer = new Uint8Array(4096);
      let request = "";
      while (!request.includes("\r\n\r\n")) {
        const read = await connection.read(buffer);
        if (read === null) break;
        request += new TextDecoder().decode(buffer.subarray(0, read));
      }
      const header = (name: string) =>
        request.match(new RegExp(`^${name}: (.*)\r$`, "im"))?.[1] ?? null;
      const range = header("range");
      this.ranges.push(range);
      const condition = header("if-range");
      const valid = condition === null || condition === etag();
      const start = ignoreRange || !valid ? 0 : Number(range?.match(/\d+/)?.[0] ?? 0);
      const head = start === 0
        ? "200 OK"
        : `206 Partial Content\r\nContent-Range: bytes ${start}-${
          bytes.length - 1
        }/${bytes.length}`;
      const text = `HTTP/1.1 ${head}\r\nETag: ${etag()}\r\nConnection: close\r\n` +
        `Content-Length: ${bytes.length - start}\r\n\r\n`;
      const body = bytes.subarray(start, start + (breaks.shift() ?? bytes.length));
      const writer = connection.writable.getWriter();
      await writer.write(new TextEncoder().encode(text));
      await writer.write(body);
      await writer.close().catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.listener.close();
    await this.#served;
  }
}

Deno.test("a whole file comes under its name and leaves nothing else", () =>
  inFolder((folder) =>
    withServer((request) => serveBytes(request, bytes), async (url) => {
      await download(url, `${folder}/file`, { md5 });
      assertEquals(await Deno.readFile(`${folder}/file`), bytes);
      assertEquals(await listing(folder), ["file"]);
    })
  ));

Deno.test("progress rises to the total", () =>
  inFolder((folder) =>
    withServer((request) => serveBytes(request, bytes), async (url) => {
      const events: DownloadProgress[] = [];
      await download(url, `${folder}/file`, { onProgress: (event) => events.push(event) });
      assertEquals(events[0], { received: 0, total: bytes.length });
      assertEquals(events.at(-1), { received: bytes.length, total: bytes.length });
      for (let i = 1; i < events.length; i++) {
        assertEquals(events[i]!.received > events[i - 1]!.received, true);
      }
    })
  ));

Deno.test("a connection dropped half way goes on where it stopped", () =>
  inFolder(async (folder) => {
    await using server = new BreakingServer([120_000]);
    const retries: string[] = [];
    await download(server.url, `${folder}/file`, {
      ...atOnce,
      md5,
      onProgress: ({ retry }) => retry !== undefined && retries.push(retry),
    });
    assertEquals(await Deno.readFile(`${folder}/file`), bytes);
    assertEquals(server.ranges, [null, "bytes=120000-"]);
    assertEquals(retries.length, 1);
  }));

Deno.test("connections that each bring something may break more often than the attempts", () =>
  inFolder(async (folder) => {
    await using server = new BreakingServer(Array(9).fill(20_000));
    await download(server.url, `${folder}/file`, { ...atOnce, md5, attempts: 2 });
    assertEquals(await Deno.readFile(`${folder}/file`), bytes);
    assertEquals(server.ranges.length, 10);
  }));

Deno.test("a later run goes on with what an earlier one received", () =>
  inFolder(async (folder) => {
    await using server = new BreakingServer([50_000]);
    await assertRejects(
      () => download(server.url, `${folder}/file`, { ...atOnce, md5, attempts: 1 }),
      UserError,
      "run again to go on",
    );
    await download(server.url, `${folder}/file`, { md5 });
    assertEquals(await Deno.readFile(`${folder}/file`), bytes);
    assertEquals(server.ranges, [null, "bytes=50000-"]);
    assertEquals(await listing(folder), ["file"]);
  }));

Deno.test("a server without ranges is read from the start again", () =>
  inFolder(async (folder) => {
    await using server = new BreakingServer([120_000], { ignoreRange: true });
    await download(server.url, `${folder}/file`, { ...atOnce, md5 });
    assertEquals(await Deno.readFile(`${folder}/file`), bytes);
  }));

Deno.test("a file that changed on the server is read from the start again", () =>
  inFolder(async (folder) => {
    let version = 0;
    await using server = new BreakingServer([120_000], { etag: () => `"${version}"` });
    await assertRejects(
      () => download(server.url, `${folder}/file`, { ...atOnce, attempts: 1 }),
      UserError,
    );
    await Deno.writeFile(`${folder}/file.part`, new Uint8Array(1000));
    version = 1;
    await download(server.url, `${folder}/file`, atOnce);
    assertEquals(await Deno.readFile(`${folder}/file`), bytes);
  }));

Deno.test("a partial file of another URL is not gone on with", () =>
  inFolder((folder) =>
    withServer((request) => serveBytes(request, bytes), async (url) => {
      await Deno.writeFile(`${folder}/file.part`, new Uint8Array(1000));
      const origin = { url: `${url}other`, validator: '"1"' };
      await Deno.writeTextFile(`${folder}/file.part.json`, JSON.stringify(origin));
      await download(url, `${folder}/file`, { md5 });
      assertEquals(await Deno.readFile(`${folder}/file`), bytes);
    })
  ));

Deno.test("a partial file that is whole already is accepted (416)", () =>
  inFolder((folder) =>
    withServer((request) => serveBytes(request, bytes), async (url) => {
      await Deno.writeFile(`${folder}/file.part`, bytes);
      const origin = JSON.stringify({ url, validator: '"1"' });
      await Deno.writeTextFile(`${folder}/file.part.json`, origin);
      await download(url, `${folder}/file`, { md5 });
      assertEquals(await listing(folder), ["file"]);
    })
  ));

Deno.test("a partial file that is too long is fetched anew (416)", () =>
  inFolder((folder) =>
    withServer((request) => serveBytes(request, bytes), async (url) => {
      await Deno.writeFile(`${folder}/file.part`, new Uint8Array(bytes.length + 5));
      const origin = JSON.stringify({ url, validator: '"1"' });
      await Deno.writeTextFile(`${folder}/file.part.json`, origin);
      await download(url, `${folder}/file`, { ...atOnce, md5 });
      assertEquals(await Deno.readFile(`${folder}/file`), bytes);
    })
  ));

Deno.test("a wrong md5 gives both sums, keeps the bytes aside, and the next try succeeds", () =>
  inFolder(async (folder) => {
    let served = bytes.with(5, bytes[5]! ^ 1);
    await withServer((request) => serveBytes(request, served), async (url) => {
      const error = await assertRejects(
        () => download(url, `${folder}/file`, { md5 }),
        UserError,
        createHash("md5").update(served).digest("hex"),
      );
      assertStringIncludes(error.message, md5);
      assertEquals(await listing(folder), ["file.wrong-md5"]);
      served = bytes;
      await download(url, `${folder}/file`, { md5: md5.toUpperCase() });
      assertEquals(await Deno.readFile(`${folder}/file`), bytes);
    });
  }));

Deno.test("a refusal is not tried again", () =>
  inFolder(async (folder) => {
    let requests = 0;
    const handler = () => (requests++, new Response("", { status: 404 }));
    await withServer(handler, async (url) => {
      await assertRejects(
        () => download(url, `${folder}/file`, atOnce),
        UserError,
        "the server answered 404",
      );
    });
    assertEquals(requests, 1);
  }));

Deno.test("a server's passing trouble is tried again", () =>
  inFolder(async (folder) => {
    let requests = 0;
    const handler = (request: Request) =>
      requests++ === 0 ? new Response("", { status: 503 }) : serveBytes(request, bytes);
    await withServer(handler, async (url) => {
      await download(url, `${folder}/file`, { ...atOnce, md5 });
    });
    assertEquals(requests, 2);
  }));

Deno.test("a connection that falls silent counts as broken", () =>
  inFolder(async (folder) => {
    let requests = 0;
    let end = () => {};
    const silent = () =>
      new ReadableStream({
        start(controller) {
          controller.enqueue(bytes.slice(0, 1000));
          end = () => controller.close();
        },
        cancel() {
          end = () => {};
        },
      });
    const handler = (request: Request) =>
      requests++ === 0
        ? new Response(silent(), { headers: { etag: '"1"' } })
        : serveBytes(request, bytes);
    await withServer(handler, async (url) => {
      const retries: string[] = [];
      await download(url, `${folder}/file`, {
        ...atOnce,
        md5,
        stallTimeout: 200,
        onProgress: ({ retry }) => retry !== undefined && retries.push(retry),
      });
      assertEquals(retries, ["nothing came for 0.2 s"]);
      end();
    });
  }));

Deno.test("no network is one sentence with the URL and the way out", () =>
  inFolder(async (folder) => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const url = `http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}/file`;
    listener.close();
    let waits = 0;
    const wait = () => (waits++, Promise.resolve());
    const error = await assertRejects(
      () => download(url, `${folder}/file`, { wait }),
      UserError,
      url,
    );
    assertStringIncludes(error.message, "--data");
    assertEquals(waits, 4);
    assertEquals(await listing(folder), []);
  }));

Deno.test("no write permission is named with the path", () =>
  inFolder(async (folder) => {
    // A path below a regular file stops root too.
    await Deno.writeTextFile(`${folder}/plain`, "");
    await assertRejects(
      () => download("http://127.0.0.1:1/", `${folder}/plain/file`),
      UserError,
      `Cannot write ${folder}/plain/file.part`,
    );
  }));
