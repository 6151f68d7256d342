/**
 * The safetensors format: 8 bytes of header length, a JSON header, raw little-endian data.
 *
 * Typed arrays are written and read as they lie in memory, which is little-endian on every
 * processor that Deno runs on.
 */
import {
  type Dtype,
  dtypeBytes,
  elementCount,
  headerLength,
  invalid,
  parseHeader,
  type SafetensorsHeader,
  type TensorEntry,
} from "./safetensors_header.ts";
import { openRegularFile } from "../files.ts";
import { ioError } from "../io_error.ts";

/** The typed array of each dtype; half and quarter floats come as their raw bits. */
interface DtypeArrays {
  F64: Float64Array;
  I64: BigInt64Array;
  U64: BigUint64Array;
  F32: Float32Array;
  I32: Int32Array;
  U32: Uint32Array;
  F16: Uint16Array;
  BF16: Uint16Array;
  I16: Int16Array;
  U16: Uint16Array;
  F8_E4M3: Uint8Array;
  F8_E5M2: Uint8Array;
  I8: Int8Array;
  U8: Uint8Array;
  BOOL: Uint8Array;
}

/** A tensor on the host, `data` in row-major order; its dtype decides the kind of its array. */
export type TensorData = {
  [D in Dtype]: {
    readonly dtype: D;
    readonly shape: readonly number[];
    readonly data: DtypeArrays[D];
  };
}[Dtype];

/** Contents of a file. */
export interface SafetensorsFile {
  readonly metadata: Record<string, string>;
  readonly tensors: Map<string, TensorData>;
}

/**
 * The bytes of a file, whole.
 * @throws {RangeError} if an array's length does not fit its shape, or a tensor has the reserved
 * name `__metadata__`.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, TensorData>,
  metadata: Record<string, string> = {},
): Uint8Array<ArrayBuffer> {
  const entries = layOut(tensors);
  const head = encodeHead(entries, metadata);
  const bytes = new Uint8Array(head.length + (entries.at(-1)?.end ?? 0));
  bytes.set(head);
  for (const { name, begin } of entries) {
    bytes.set(bytesOf(tensors.get(name)!), head.length + begin);
  }
  return bytes;
}

/**
 * Reads a file from memory; the arrays are copies.
 * @param source what an error names, a path for example
 * @throws {UserError} naming `source` and the fault.
 */
export function decodeSafetensors(bytes: Uint8Array, source = "The data"): SafetensorsFile {
  const length = headerLength(bytes, bytes.length, source);
  const data = bytes.subarray(8 + length);
  const header = parseHeader(bytes.subarray(8, 8 + length), data.length, source);
  const tensors = new Map<string, TensorData>();
  for (const entry of header.entries) {
    tensors.set(entry.name, tensorOf(entry, data.slice(entry.begin, entry.end)));
  }
  return { metadata: header.metadata, tensors };
}

/**
 * Reads a file, or the tensors of it that `select` takes; memory is taken for these alone, and
 * only once the header has passed all checks.
 * @throws {UserError} naming the file and the fault, also when it cannot be opened.
 */
export async function readSafetensorsFile(
  path: string,
  options: { select?: (name: string) => boolean } = {},
): Promise<SafetensorsFile> {
  await using reader = await SafetensorsReader.open(path);
  const tensors = new Map<string, TensorData>();
  for (const entry of reader.header.entries) {
    if (options.select && !options.select(entry.name)) continue;
    tensors.set(entry.name, tensorOf(entry, await reader.read(entry)));
  }
  return { metadata: reader.header.metadata, tensors };
}

/**
 * Reads a file's metadata, once its header has passed all checks; no tensor is read.
 * @throws {UserError} naming the file and the fault, also when it cannot be opened.
 */
export async function readSafetensorsMetadata(path: string): Promise<Record<string, string>> {
  await using reader = await SafetensorsReader.open(path);
  return reader.header.metadata;
}

/** An open file whose header has been checked; close it, or declare it with `await using`. */
export class SafetensorsReader {
  private constructor(
    private readonly file: Deno.FsFile,
    private readonly path: string,
    readonly header: SafetensorsHeader,
    /** The 8 bytes of the length and the header as it stands in the file. */
    readonly rawHead: Uint8Array<ArrayBuffer>,
  ) {}

  /** @throws {UserError} naming the file and the fault, also when it cannot be opened. */
  static async open(path: string): Promise<SafetensorsReader> {
    const { file, size } = await openRegularFile(path);
    try {
      const prefix = new Uint8Array(Math.min(9, size));
      await readFull(file, prefix, path);
      const head = new Uint8Array(8 + headerLength(prefix, size, path));
      head.set(prefix);
      await readFull(file, head.subarray(prefix.length), path);
      const header = parseHeader(head.subarray(8), size - head.length, path);
      return new SafetensorsReader(file, path, header, head);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** The bytes of one tensor. */
  async read(entry: TensorEntry): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(entry.end - entry.begin);
    await this.file.seek(this.rawHead.length + entry.begin, Deno.SeekMode.Start).catch((error) => {
      throw ioError(error, "read", this.path);
    });
    await readFull(this.file, bytes, this.path);
    return bytes;
  }

  close(): void {
    this.file.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }
}

/** Puts a tensor's bytes into the array of its dtype, without a copy. */
export function tensorOf(entry: TensorEntry, bytes: Uint8Array<ArrayBuffer>): TensorData {
  const { dtype, shape } = entry;
  const arrays = {
    F64: Float64Array,
    I64: BigInt64Array,
    U64: BigUint64Array,
    F32: Float32Array,
    I32: Int32Array,
    U32: Uint32Array,
    F16: Uint16Array,
    BF16: Uint16Array,
    I16: Int16Array,
    U16: Uint16Array,
    F8_E4M3: Uint8Array,
    F8_E5M2: Uint8Array,
    I8: Int8Array,
    U8: Uint8Array,
    BOOL: Uint8Array,
  };
  return { dtype, shape, data: new arrays[dtype](bytes.buffer) } as TensorData;
}

/** The bytes under a tensor's array, without a copy. */
export function bytesOf(tensor: TensorData): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = tensor.data;
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}

/**
 * Place of each tensor: wide elements first, so that every tensor is aligned to its element
 * when the data begins at a multiple of 8; otherwise in the order of the map.
 */
export function layOut(tensors: ReadonlyMap<string, TensorData>): TensorEntry[] {
  const sorted = [...tensors].sort(([, a], [, b]) => dtypeBytes[b.dtype] - dtypeBytes[a.dtype]);
  let end = 0;
  return sorted.map(([name, { dtype, shape, data }]) => {
    if (name === "__metadata__") throw new RangeError("A tensor cannot be named __metadata__");
    if (elementCount(shape) !== data.length) {
      throw new RangeError(`Tensor ${name} of shape [${shape}] has ${data.length} elements`);
    }
    const begin = end;
    end += data.byteLength;
    return { name, dtype, shape, begin, end };
  });
}

/** The header with its length before it, padded with spaces to a multiple of 8. */
export function encodeHead(
  entries: readonly TensorEntry[],
  metadata: Record<string, string>,
): Uint8Array<ArrayBuffer> {
  const object: [string, unknown][] = entries.map((
    { name, dtype, shape, begin, end },
  ) => [name, { dtype, shape, data_offsets: [begin, end] }]);
  if (Object.keys(metadata).length > 0) object.unshift(["__metadata__", metadata]);
  const text = new TextEncoder().encode(JSON.stringify(Object.fromEntries(object)));
  const head = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true);
  head.set(text, 8);
  return head;
}

async function readFull(file: Deno.FsFile, into: Uint8Array, path: string): Promise<void> {
  for (let done = 0; done < into.length;) {
    const count = await file.read(into.subarray(done)).catch((error) => {
      throw ioError(error, "read", path);
    });
    if (count === null) throw invalid(path, "it was cut short while it was read");
    done += count;
  }
}
