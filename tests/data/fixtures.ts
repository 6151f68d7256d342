/** Small record files, archives and servers for the tests of this folder. */
import { packTar } from "npm:modern-tar@0.8.6";
import { type CifarLayout, cifarLayouts } from "../../lib/data/cifar.ts";

/** An entry of an archive; a regular file if no type is given. */
export interface Entry {
  name: string;
  body?: Uint8Array | string;
  type?: "file" | "directory" | "symlink" | "link" | "character-device";
}

/** The bytes of a `.tar.gz`, valid or hostile. */
export async function tarGz(entries: Entry[]): Promise<Uint8Array<ArrayBuffer>> {
  const tar = await packTar(entries.map(({ name, body = "", type = "file" }) => {
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    const linkname = type.endsWith("link") ? "/etc/passwd" : undefined;
    return { header: { name, type, size: bytes.length, linkname }, body: bytes };
  }));
  return await gzip(tar);
}

/** Compresses bytes. */
export async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(stream).bytes();
}

/** `count` records; the label bytes of record i are i, the pixel bytes depend on i and place. */
export function records(count: number, labelBytes: number, first = 0): Uint8Array<ArrayBuffer> {
  const size = labelBytes + 3072;
  const bytes = new Uint8Array(count * size);
  for (let i = 0; i < count; i++) {
    bytes.fill(i, i * size, i * size + labelBytes);
    for (let j = 0; j < 3072; j++) {
      bytes[i * size + labelBytes + j] = Math.imul(j + 1, 31 * (i + first) + 7) >>> 3;
    }
  }
  return bytes;
}

/** The files of a data set of few records: per train file `count`, and 2 in test. */
export function cifarEntries(name: CifarLayout["name"], count = 3): Entry[] {
  const layout = cifarLayouts[name];
  const labels = Object.values(layout.labels);
  return [
    { name: `${layout.folder}/`, type: "directory" },
    ...layout.trainFiles.map((file, i) => ({
      name: `${layout.folder}/${file}`,
      body: records(count, labels.length, i * count),
    })),
    ...layout.testFiles.map((file) => ({
      name: `${layout.folder}/${file}`,
      body: records(2, labels.length, 100),
    })),
    ...labels.map(({ namesFile, classes }) => ({
      name: `${layout.folder}/${namesFile}`,
      body: Array.from({ length: classes }, (_, i) => `${namesFile} ${i}\n`).join("") + "\n",
    })),
    { name: `${layout.folder}/readme.html`, body: "<p>" },
  ];
}

/** Writes the files of {@linkcode cifarEntries} flat into a folder. */
export async function writeCifar(folder: string, name: CifarLayout["name"]): Promise<void> {
  for (const { name: path, body, type } of cifarEntries(name)) {
    if (type === "directory") continue;
    const file = `${folder}/${path.split("/").at(-1)}`;
    await (typeof body === "string"
      ? Deno.writeTextFile(file, body)
      : Deno.writeFile(file, body ?? new Uint8Array()));
  }
}

/** Runs a test in a temporary folder of its own. */
export async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs a test against a loopback server; `url` ends in a slash. */
export async function withServer(
  handler: (request: Request) => Response | Promise<Response>,
  test: (url: string) => Promise<void>,
): Promise<void> {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handler);
  try {
    await test(`http://127.0.0.1:${server.addr.port}/`);
  } finally {
    await server.shutdown();
  }
}

/** Answers as a file server with ranges does. */
export function serveBytes(
  request: Request,
  bytes: Uint8Array<ArrayBuffer>,
  etag = '"1"',
): Response {
  const start = Number(request.headers.get("range")?.match(/^bytes=(\d+)-$/)?.[1] ?? "0");
  const condition = request.headers.get("if-range");
  if (start === 0 || (condition !== null && condition !== etag)) {
    return new Response(bytes, { headers: { etag } });
  }
  if (start >= bytes.length) {
    return new Response(null, {
      status: 416,
      headers: { "content-range": `bytes */${bytes.length}` },
    });
  }
  const range = `bytes ${start}-${bytes.length - 1}/${bytes.length}`;
  return new Response(bytes.slice(start), {
    status: 206,
    headers: { etag, "content-range": range },
  });
}

/** Names in a folder, sorted. */
export async function listing(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder))).map((entry) => entry.name).sort();
}
