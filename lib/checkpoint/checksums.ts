/**
 * Safetensors files that notice every changed byte: the metadata carries the SHA-256 of each
 * tensor's bytes under `sha256:NAME`, and under `sha256` that of the header, taken with these 64
 * digits as zeros and with the 8 bytes of its length before it. Other readers of the format see
 * ordinary metadata.
 */
import { UserError } from "../errors.ts";
import {
  bytesOf,
  encodeHead,
  layOut,
  type SafetensorsFile,
  SafetensorsReader,
  type TensorData,
  tensorOf,
} from "./safetensors.ts";
import { parseHeader, type SafetensorsHeader } from "./safetensors_header.ts";

const headerKey = "sha256";
const tensorKey = (name: string) => `sha256:${name}`;
const zeros = "0".repeat(64);

/** SHA-256 as 64 lowercase hexadecimal digits. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/**
 * A file with checksums, in chunks ready to be written; the arrays are not copied, so they must not
 * change until then.
 */
export async function encodeSealed(
  tensors: ReadonlyMap<string, TensorData>,
  metadata: Record<string, string>,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const entries = layOut(tensors);
  const sealed: Record<string, string> = { ...metadata, [headerKey]: zeros };
  const bodies = entries.map(({ name }) => bytesOf(tensors.get(name)!));
  for (const group of together(bodies)) {
    const sums = await Promise.all(group.map((i) => sha256(bodies[i]!)));
    group.forEach((i, k) => sealed[tensorKey(entries[i]!.name)] = sums[k]!);
  }
  const head = encodeHead(entries, sealed);
  const header = parseHeader(head.subarray(8), entries.at(-1)?.end ?? 0, "The header");
  const [begin] = header.metadataSpans.get(headerKey)!;
  const digits = await sha256(head);
  head.set(new TextEncoder().encode(digits), 8 + begin);
  return [head, ...bodies];
}

/** Bytes that are hashed at a time, unless one tensor alone has more: hashing works on copies. */
const hashedTogether = 1 << 26;

/**
 * Divides arrays, by index, into groups to be hashed at the same time: an await for each of many
 * small ones would take a turn of the event loop, which a training step may hold for seconds.
 */
function together(bodies: readonly Uint8Array[]): number[][] {
  const groups: number[][] = [];
  let bytes = Infinity;
  bodies.forEach(({ length }, i) => {
    bytes += length;
    if (bytes > hashedTogether) {
      groups.push([]);
      bytes = length;
    }
    groups.at(-1)!.push(i);
  });
  return groups;
}

/** Checks of a file with checksums while it is read; each may throw. */
export interface SealedChecks {
  /** Called once the header is verified, before a tensor is read. */
  checkHeader?: (header: SafetensorsHeader) => Promise<void>;
  /** Called with each tensor that is read and verified. */
  checkTensor?: (name: string, tensor: TensorData) => void;
}

/**
 * Reads a file with checksums, or the tensors of it that `select` takes, and verifies the header
 * and each tensor read.
 * @throws {UserError} naming the file and what is damaged, or that it has no checksums.
 */
export async function readSealedFile(
  path: string,
  options: SealedChecks & { select?: (name: string) => boolean } = {},
): Promise<SafetensorsFile> {
  const tensors = new Map<string, TensorData>();
  const metadata = await eachSealedTensor(path, options, (name, tensor) => {
    tensors.set(name, tensor);
  });
  return { metadata, tensors };
}

/**
 * Verifies every byte of a file with checksums, one tensor in memory at a time.
 * @returns the metadata.
 * @throws {UserError} naming the file and what is damaged, or that it has no checksums.
 */
export async function verifySealedFile(
  path: string,
  checks: SealedChecks = {},
): Promise<Record<string, string>> {
  return await eachSealedTensor(path, checks, () => {});
}

async function eachSealedTensor(
  path: string,
  options: Parameters<typeof readSealedFile>[1] & object,
  take: (name: string, tensor: TensorData) => void,
): Promise<Record<string, string>> {
  await using reader = await SafetensorsReader.open(path);
  const { metadata, entries } = reader.header;
  await verifyHead(reader.rawHead, reader.header, path);
  await options.checkHeader?.(reader.header);
  for (const entry of entries) {
    if (options.select && !options.select(entry.name)) continue;
    const bytes = await reader.read(entry);
    if (metadata[tensorKey(entry.name)] !== await sha256(bytes)) {
      throw damaged(path, `tensor ${entry.name}`);
    }
    const tensor = tensorOf(entry, bytes);
    options.checkTensor?.(entry.name, tensor);
    take(entry.name, tensor);
  }
  return metadata;
}

async function verifyHead(
  rawHead: Uint8Array<ArrayBuffer>,
  header: SafetensorsHeader,
  path: string,
): Promise<void> {
  const span = header.metadataSpans.get(headerKey);
  if (span === undefined) {
    throw new UserError(
      `${path} carries no checksums, so it is no checkpoint of this project, or its header is damaged.`,
    );
  }
  const [begin, end] = span;
  if (end - begin !== zeros.length) throw damaged(path, "its header");
  const zeroed = rawHead.slice();
  zeroed.fill(0x30, 8 + begin, 8 + end);
  if (header.metadata[headerKey] !== await sha256(zeroed)) throw damaged(path, "its header");
}

function damaged(path: string, what: string): UserError {
  return new UserError(
    `${path} is damaged: ${what} does not have the checksum it was saved with; use another checkpoint.`,
  );
}
