/** Files made to take memory or time, or to reach where they must not. */
import { crc32, deflateSync } from "node:zlib";
import { fileOf, hostileSafetensors } from "../checkpoint/hostile.ts";
import { gzip, tarGz } from "../data/fixtures.ts";

/** What reads the file; see refuser.ts. */
export type Reader =
  | "safetensors"
  | "state"
  | "weights"
  | "plain"
  | "image"
  | "archive"
  | "run"
  | "history"
  | "layers";

/** A file, or for `run` and `layers` a folder that holds it under that reader's name. */
export interface HostileFile {
  name: string;
  reader: Reader;
  bytes: Uint8Array;
  /** Length of the file, if it goes on with a hole after the bytes. */
  length?: number;
}

const text = (value: string) => new TextEncoder().encode(value);

function chunk(type: string, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set(text(type), 4);
  bytes.set(body, 8);
  view.setUint32(8 + body.length, crc32(bytes.subarray(4, 8 + body.length)));
  return bytes;
}

/** A PNG of that declared size, 8 bits of grey, with this data. */
function png(width: number, height: number, data: Uint8Array): Uint8Array {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 0, 0, 0, 0], 8);
  const parts = [
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    ...[chunk("IHDR", header), chunk("IDAT", data), chunk("IEND", new Uint8Array(0))],
  ];
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A JPEG that declares a size and holds next to nothing. */
function jpeg(width: number, height: number): Uint8Array {
  return Uint8Array.of(
    ...[0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, height >> 8, height & 255, width >> 8, width & 255],
    ...[3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1],
    ...[0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0, 0xff, 0xd9],
  );
}

const nested = (depth: number) => text("[".repeat(depth));
const zeros = (bytes: number) => deflateSync(new Uint8Array(bytes));
const sealed = (name: string, count: number) =>
  fileOf(`{"__metadata__":{"${name}":"${"x".repeat(count)}"}}`);

/** All of them. */
export async function hostileFiles(): Promise<HostileFile[]> {
  const files: HostileFile[] = [];
  const add = (reader: Reader, name: string, bytes: Uint8Array, length?: number) =>
    files.push({ name: `${reader}: ${name}`, reader, bytes, length });

  for (const [name, bytes] of hostileSafetensors) add("safetensors", name, bytes);
  // From here on each has a process to itself, as these are made to take memory.
  for (const reader of ["safetensors", "state", "weights", "plain"] as const) {
    const header = new Uint8Array(9);
    header.set([0xff, 0xe0, 0xf5, 0x05]);
    add(reader, "a header of 99,999,999 zeros in 20 GB", header.subarray(0, 8), 20e9);
    header[8] = 0x7b;
    add(reader, "a header of 99,999,999 bytes that is a brace and zeros", header, 20e9);
    // To a reader of any safetensors file it is one of the format.
    if (reader !== "safetensors") {
      add(reader, "a metadata value of 15 MiB", sealed("config", 15 << 20));
    }
    add(reader, "a metadata value of 17 MiB", sealed("config", 17 << 20));
    add(reader, "a header of 33 MiB", sealed("config", 33 << 20));
    add(reader, "no header at all in 20 GB", new Uint8Array(8), 20e9);
  }

  add("image", "65,535 x 65,535 pixels, PNG", png(65_535, 65_535, zeros(10)));
  add("image", "2^31 - 1 pixels wide, PNG", png(2 ** 31 - 1, 1, zeros(10)));
  add("image", "8,000 x 8,000 pixels in a few bytes, PNG", png(8000, 8000, zeros(10)));
  add("image", "100 MB inflated for one pixel, PNG", png(1, 1, zeros(100e6)));
  add("image", "no pixels, PNG", png(0, 9, zeros(10)));
  add("image", "65,535 x 65,535 pixels, JPEG", jpeg(65_535, 65_535));
  add("image", "8,000 x 8,000 pixels in a few bytes, JPEG", jpeg(8000, 8000));
  add("image", "no pixels, JPEG", jpeg(0, 9));
  add("image", "a PNG of 20 GB", png(9, 9, zeros(10)), 20e9);
  add("image", "a JPEG of 20 GB", jpeg(9, 9), 20e9);
  add("image", "zeros", new Uint8Array(8), 1e9);

  const body = { name: "set/a.bin", body: "x" };
  const entries = {
    "a symbolic link": { name: "set/a.bin", type: "symlink" as const },
    "a hard link": { name: "set/a.bin", type: "link" as const },
    "a device": { name: "set/null", type: "character-device" as const },
    "an absolute path": { name: "/tmp/evil", body: "x" },
    "a path that climbs": { name: "set/../../evil", body: "x" },
    "a path on a drive": { name: "C:\\evil", body: "x" },
  };
  for (const [name, entry] of Object.entries(entries)) {
    add("archive", name, await tarGz([entry, body]));
  }
  add("archive", "the same file twice", await tarGz([body, body]));
  add(
    "archive",
    "200 MB of zeros in 200 kB",
    await tarGz([
      { name: "set/a.bin", body: new Uint8Array(200e6) },
    ]),
  );
  add("archive", "gzip without an end", (await gzip(new Uint8Array(1e6))).subarray(0, 500));
  add("archive", "zeros", new Uint8Array(8), 1e9);

  for (const reader of ["run", "layers"] as const) {
    add(reader, "500,000 brackets", nested(500_000));
    add(reader, "30,000,000 brackets", nested(30_000_000));
    add(reader, "JSON of 20 GB", text('{"a":"'), 20e9);
    add(reader, "a string of 40 MB", text(`"${"x".repeat(40e6)}"`));
    add(reader, "null", text("null"));
    add(reader, "half an object", text('{"imageSize":'));
    add(reader, "a prototype", text('{"__proto__":{"imageSize":3}}'));
  }
  add("run", "a patch of 10^300 pixels", text('{"patchSize":1e300}'));
  add("history", "500,000 brackets in a line", text("[".repeat(500_000) + "\n"));
  add("history", "a line of 40 MB", text(`"${"x".repeat(40e6)}"\n`));
  add("history", "a history of 20 GB", text('{"epoch":1}\n'), 20e9);
  return files;
}
