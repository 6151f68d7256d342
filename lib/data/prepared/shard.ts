/**
 * A shard: the records of a range of pictures, in a file that proves itself whole.
 *
 * Eight bytes of format and version; the length of the header (uint32, little endian); the header,
 * JSON; the pixels of the records, uint8 `[records, size, size, 3]`, those of broken pictures left
 * out; SHA-256 of all before it. Nothing in it depends on where or when it was made, so the same
 * pictures give the same bytes.
 */
import { createHash } from "node:crypto";
import { z } from "../../deps.ts";
import { UserError } from "../../errors.ts";
import { openRegularFile, writeFileAtomic } from "../../files.ts";
import { isAbsent } from "../../io_error.ts";

/** Raised when the format changes, or what decoding and resizing make of the same picture. */
export const shardVersion = 1;

const magic = new TextEncoder().encode(`vitshd${String(shardVersion).padStart(2, "0")}`);
const digestBytes = 32;
const maxHeaderBytes = 1 << 26;

/** Bytes of pixels that a shard has at most, unless one record has more. */
const defaultShardBytes = 1 << 23;

const headerSchema = z.strictObject({
  /** The position of its first picture. */
  first: z.int().min(0),
  /** Side of a record, in pixels. */
  size: z.int().min(1),
  /** Of each picture, broken or not. */
  labels: z.array(z.int().min(0)),
  /** Position within the shard, name and reason of each picture that could not be read. */
  broken: z.array(z.tuple([z.int().min(0), z.string(), z.string()])),
});

/** What a shard says of itself. */
export type ShardHeader = z.infer<typeof headerSchema>;

/** A shard that is whole. */
export interface Shard extends ShardHeader {
  path: string;
  /** Where the pixels begin, in bytes. */
  offset: number;
  /** SHA-256, in hexadecimal. */
  sha256: string;
}

/** Pictures of one shard. */
export function picturesPerShard(size: number, shardBytes = defaultShardBytes): number {
  return Math.max(1, Math.floor(shardBytes / (size * size * 3)));
}

/** The path of the shard of that number, from 0. */
export function shardPath(folder: string, index: number): string {
  return `${folder}/${String(index).padStart(6, "0")}.shard`;
}

/**
 * Writes a shard at one stroke.
 * @param pixels of the records that are not broken, in order
 * @throws {UserError} if it cannot be written; there is then no shard.
 */
export async function writeShard(
  path: string,
  header: ShardHeader,
  pixels: Uint8Array,
): Promise<void> {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, text.length, true);
  const hash = createHash("sha256");
  const parts = [magic, length, text, pixels];
  for (const part of parts) hash.update(part);
  await writeFileAtomic(path, [...parts, hash.digest()]);
}

/** What is wrong with a shard, as in "PATH `fault`"; `absent` where there is none. */
export type ShardFault = { fault: string; isAbsent: boolean };

/**
 * Reads a shard from its first byte to its last, and takes no more memory than a part of it.
 * @throws {UserError} where the system cannot read it.
 */
export async function checkShard(
  path: string,
  { first, size, count }: { first: number; size: number; count: number },
): Promise<Shard | ShardFault> {
  const wrong = (fault: string): ShardFault => ({ fault, isAbsent: false });
  let opened: Awaited<ReturnType<typeof openRegularFile>>;
  try {
    opened = await openRegularFile(path);
  } catch (error) {
    if (isAbsent(error)) return { fault: "is missing", isAbsent: true };
    throw error;
  }
  using file = opened.file;
  const start = await readExactly(file, magic.length + 4);
  if (!start) return wrong("is cut short");
  if (!magic.every((byte, i) => start[i] === byte)) return wrong("is of another version");
  const length = new DataView(start.buffer).getUint32(magic.length, true);
  if (length > maxHeaderBytes) return wrong("is damaged");
  const text = await readExactly(file, length);
  if (!text) return wrong("is cut short");
  const header = parseHeader(text);
  if (!header || header.labels.length !== count || header.broken.some(([i]) => i >= count)) {
    return wrong("is damaged");
  }
  if (header.first !== first || header.size !== size) return wrong("is of other pictures");
  const offset = start.length + length;
  const pixels = (count - header.broken.length) * size * size * 3;
  if (opened.size !== offset + pixels + digestBytes) return wrong("is cut short");
  const hash = createHash("sha256").update(start).update(text);
  const buffer = new Uint8Array(Math.min(1 << 20, pixels));
  for (let done = 0; done < pixels;) {
    const count = await file.read(buffer.subarray(0, Math.min(buffer.length, pixels - done)));
    if (count === null) return wrong("is cut short");
    hash.update(buffer.subarray(0, count));
    done += count;
  }
  const digest = hash.digest();
  const stored = await readExactly(file, digestBytes);
  if (!stored || !digest.equals(stored)) return wrong("is damaged");
  return { ...header, path, offset, sha256: digest.toString("hex") };
}

/**
 * Reads the records of a shard, some at a time.
 * @param visit given the position of the picture in its set, and its pixels until it returns
 * @throws {UserError} if the shard has changed since it was checked.
 */
export async function readRecords(
  { path, first, size, labels, broken, offset }: Shard,
  visit: (index: number, pixels: Uint8Array) => void,
): Promise<void> {
  const { file } = await openRegularFile(path);
  using _ = file;
  await file.seek(offset, Deno.SeekMode.Start);
  const record = size * size * 3;
  const isBroken = new Set(broken.map(([at]) => at));
  const kept = labels.map((_, at) => at).filter((at) => !isBroken.has(at));
  const most = Math.max(1, Math.floor((1 << 20) / record));
  for (let start = 0; start < kept.length; start += most) {
    const part = kept.slice(start, start + most);
    const pixels = await readExactly(file, part.length * record);
    if (!pixels) throw new UserError(`${path} was cut short while it was read; start again.`);
    part.forEach((at, i) => visit(first + at, pixels.subarray(i * record, (i + 1) * record)));
  }
}

function parseHeader(text: Uint8Array): ShardHeader | undefined {
  try {
    return headerSchema.safeParse(JSON.parse(new TextDecoder().decode(text))).data;
  } catch {
    return undefined;
  }
}

/** So many bytes from where the file stands; undefined where it ends before. */
async function readExactly(
  file: Deno.FsFile,
  count: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const bytes = new Uint8Array(count);
  for (let done = 0; done < count;) {
    const read = await file.read(bytes.subarray(done));
    if (read === null) return undefined;
    done += read;
  }
  return bytes;
}
