/**
 * Reading the header of a safetensors file that nobody vouches for.
 *
 * The grammar of a header is fixed (names to {dtype, shape, data_offsets}, and one map of strings),
 * so this scanner accepts that grammar alone and never builds a general JSON value: nesting deeper
 * than the format's own fails at its first bracket, and a key that comes twice is seen, which
 * `JSON.parse` cannot do. Format: https://github.com/huggingface/safetensors, "Format".
 */
import { UserError } from "../errors.ts";

/** Bytes of one element of each dtype of the format. */
export const dtypeBytes = {
  F64: 8,
  I64: 8,
  U64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

/** An element type of the format. */
export type Dtype = keyof typeof dtypeBytes;

/** Place of one tensor: `begin` and `end` count bytes from the end of the header. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** A checked header. */
export interface SafetensorsHeader {
  /** Without a prototype, so a key such as `__proto__` is only a key. */
  readonly metadata: Record<string, string>;
  /** In the order of the data: no holes, no overlaps, the last ends where the file ends. */
  readonly entries: readonly TensorEntry[];
  /** Place of each metadata value's text in the header's bytes, without its quotes. */
  readonly metadataSpans: ReadonlyMap<string, readonly [begin: number, end: number]>;
}

/** The format's own limit: 100 MB. */
export const maxHeaderBytes = 100_000_000;
// Not of the format: bounds on what a header could make us hold.
const takenHeaderBytes = 1 << 25;
const maxEntries = 16_384;
const maxStringBytes = 1 << 24;
const maxRank = 64;

/**
 * Checks the first 8 bytes of a file against its length.
 * @param prefix the first bytes of the file, at least 9 unless the file is shorter
 * @param fileBytes length of the file
 * @returns the header's length in bytes, which is within the file and within 32 MiB.
 * @throws {UserError} naming `source` and the fault.
 */
export function headerLength(prefix: Uint8Array, fileBytes: number, source: string): number {
  if (fileBytes < 8 || prefix.length < 8) {
    throw invalid(source, `it has ${fileBytes} bytes, and the header's length alone takes 8`);
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (length > maxHeaderBytes) {
    throw invalid(source, `it declares a header of ${length} bytes, more than 100 MB`);
  }
  if (length < 2n) throw invalid(source, `it declares a header of ${length} bytes`);
  if (Number(length) > fileBytes - 8) {
    throw invalid(
      source,
      `its header of ${length} bytes ends beyond the file's ${fileBytes} bytes`,
    );
  }
  // Seen before up to 100 MB are read, since most foreign files fail here.
  if (prefix[8] !== 0x7b) throw invalid(source, "its header does not begin with {");
  if (length > takenHeaderBytes) {
    throw new UserError(
      `${source} has a header of ${length} bytes, more than the 32 MiB that this program takes.`,
    );
  }
  return Number(length);
}

/**
 * Parses and checks a header.
 * @param bytes the header's JSON text, without the 8 bytes of its length
 * @param dataBytes length of what follows the header in the file
 * @throws {UserError} naming `source` and the fault.
 */
export function parseHeader(
  bytes: Uint8Array,
  dataBytes: number,
  source: string,
): SafetensorsHeader {
  const scanner = new HeaderScanner(bytes, dataBytes, source);
  return scanner.header();
}

/** The error of a file that breaks the format. */
export function invalid(source: string, fault: string): UserError {
  return new UserError(`${source} is not a valid safetensors file: ${fault}.`);
}

/**
 * The elements of a shape.
 * @returns undefined when the product is no safe integer.
 */
export function elementCount(shape: readonly number[]): number | undefined {
  let count = 1;
  for (const extent of shape) {
    count *= extent;
    if (!Number.isSafeInteger(count)) return undefined;
  }
  return count;
}

const quote = 0x22;
const backslash = 0x5c;
const isDigit = (byte: number | undefined): byte is number =>
  byte !== undefined && byte >= 0x30 && byte <= 0x39;

class HeaderScanner {
  #position = 0;
  readonly #text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  constructor(
    private readonly bytes: Uint8Array,
    private readonly dataBytes: number,
    private readonly source: string,
  ) {}

  header(): SafetensorsHeader {
    const entries: TensorEntry[] = [];
    let metadata: Record<string, string> | undefined;
    const spans = new Map<string, readonly [number, number]>();
    this.#object("the header", (key) => {
      if (key === "__metadata__") metadata = this.#metadata(spans);
      else entries.push(this.#entry(key));
    });
    this.#skipSpace();
    if (this.#position < this.bytes.length) {
      throw this.#fault(`something follows the header's closing brace at byte ${this.#position}`);
    }
    this.#checkLayout(entries);
    return { metadata: metadata ?? Object.create(null), entries, metadataSpans: spans };
  }

  #metadata(spans: Map<string, readonly [number, number]>): Record<string, string> {
    const metadata: Record<string, string> = Object.create(null);
    this.#object("__metadata__", (key) => {
      const begin = this.#position + 1;
      metadata[key] = this.#string(`the metadata value of ${JSON.stringify(key)}`);
      spans.set(key, [begin, this.#position - 1]);
    });
    return metadata;
  }

  #entry(name: string): TensorEntry {
    const label = `tensor ${JSON.stringify(name)}`;
    let dtype: string | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    this.#object(label, (key) => {
      if (key === "dtype") dtype = this.#string(`the dtype of ${label}`);
      else if (key === "shape") shape = this.#integers(`the shape of ${label}`);
      else if (key === "data_offsets") offsets = this.#integers(`data_offsets of ${label}`);
      else throw this.#fault(`${label} has an unknown field ${JSON.stringify(key)}`);
    });
    if (dtype === undefined || shape === undefined || offsets === undefined) {
      throw this.#fault(`${label} lacks one of dtype, shape and data_offsets`);
    }
    if (!Object.hasOwn(dtypeBytes, dtype)) {
      throw this.#fault(`${label} has the unknown dtype ${JSON.stringify(dtype)}`);
    }
    const [begin, end] = offsets;
    if (offsets.length !== 2 || begin === undefined || end === undefined) {
      throw this.#fault(`${label} has ${offsets.length} data_offsets, not 2`);
    }
    if (begin > end) throw this.#fault(`${label} ends at ${end}, before its begin at ${begin}`);
    if (end > this.dataBytes) {
      throw this.#fault(
        `${label} ends at byte ${end}, but only ${this.dataBytes} bytes follow the header`,
      );
    }
    const elements = elementCount(shape);
    const size = elements === undefined ? NaN : elements * dtypeBytes[dtype as Dtype];
    if (!Number.isSafeInteger(size)) {
      throw this.#fault(`${label} of shape [${shape}] has too many elements to count`);
    }
    if (size !== end - begin) {
      throw this.#fault(
        `${label} of ${dtype} [${shape}] takes ${size} bytes, but its offsets hold ${end - begin}`,
      );
    }
    return { name, dtype: dtype as Dtype, shape, begin, end };
  }

  #checkLayout(entries: TensorEntry[]): void {
    entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
    let end = 0;
    for (const entry of entries) {
      if (entry.begin !== end) {
        const what = entry.begin < end
          ? "overlaps the tensor before it"
          : "leaves a hole before it";
        throw this.#fault(`tensor ${JSON.stringify(entry.name)} ${what}`);
      }
      end = entry.end;
    }
    if (end !== this.dataBytes) {
      throw this.#fault(`${this.dataBytes - end} bytes after the last tensor belong to none`);
    }
  }

  /** Reads `{"key": value, …}`; `readValue` reads each value at the scanner's position. */
  #object(what: string, readValue: (key: string) => void): void {
    this.#expect("{", what);
    const keys = new Set<string>();
    this.#skipSpace();
    if (this.#take("}")) return;
    do {
      this.#skipSpace();
      const key = this.#string(`a key of ${what}`);
      if (keys.has(key)) throw this.#fault(`the key ${JSON.stringify(key)} of ${what} comes twice`);
      if (keys.size === maxEntries) throw this.#fault(`${what} has more than ${maxEntries} keys`);
      keys.add(key);
      this.#skipSpace();
      this.#expect(":", what);
      this.#skipSpace();
      readValue(key);
      this.#skipSpace();
    } while (this.#take(","));
    this.#expect("}", what);
  }

  #integers(what: string): number[] {
    this.#expect("[", what);
    const values: number[] = [];
    this.#skipSpace();
    if (this.#take("]")) return values;
    do {
      this.#skipSpace();
      if (values.length === maxRank) throw this.#fault(`${what} has more than ${maxRank} numbers`);
      values.push(this.#integer(what));
      this.#skipSpace();
    } while (this.#take(","));
    this.#expect("]", what);
    return values;
  }

  #integer(what: string): number {
    const begin = this.#position;
    if (this.bytes[begin] === 0x2d) throw this.#fault(`${what} has a negative number`);
    let value = 0;
    for (let byte = this.bytes[begin]; isDigit(byte); byte = this.bytes[this.#position]) {
      value = value * 10 + (byte - 0x30);
      this.#position++;
    }
    const next = this.bytes[this.#position];
    if (this.#position === begin || next === 0x2e || next === 0x65 || next === 0x45) {
      throw this.#fault(`${what} has what is no integer`);
    }
    if (this.bytes[begin] === 0x30 && this.#position > begin + 1) {
      throw this.#fault(`${what} has a leading zero`);
    }
    // Beyond 2^53 the sum is rounded, but never to below it.
    if (!Number.isSafeInteger(value)) {
      throw this.#fault(`${what} has a number too large to count with`);
    }
    return value;
  }

  #string(what: string): string {
    this.#expect('"', what);
    const begin = this.#position;
    const plain = this.#plainString(begin);
    if (plain !== undefined) return plain;
    const window = this.bytes.subarray(begin, begin + maxStringBytes);
    let end = window.indexOf(quote);
    // A backslash before the quote may belong to it, so the end moves on past each escaped byte.
    for (let from = 0; end >= 0;) {
      const escape = window.subarray(from, end).indexOf(backslash);
      if (escape < 0) break;
      from += escape + 2;
      if (from > end) end = window.indexOf(quote, from);
    }
    if (end < 0) {
      const all = window.length < maxStringBytes;
      throw this.#fault(all ? `${what} never ends` : `${what} is longer than 16 MiB`);
    }
    this.#position = begin + end + 1;
    try {
      return JSON.parse(this.#text.decode(this.bytes.subarray(begin - 1, this.#position)));
    } catch {
      throw this.#fault(`${what} is no valid JSON string in UTF-8`);
    }
  }

  /** The string from `begin` if it is short printable ASCII, as most are; a decoder costs more. */
  #plainString(begin: number): string | undefined {
    let text = "";
    for (let at = begin; at < begin + 64; at++) {
      const byte = this.bytes[at];
      if (byte === quote) {
        this.#position = at + 1;
        return text;
      }
      if (byte === undefined || byte < 0x20 || byte > 0x7e || byte === backslash) return undefined;
      text += String.fromCharCode(byte);
    }
    return undefined;
  }

  #skipSpace(): void {
    for (;;) {
      const byte = this.bytes[this.#position];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#position++;
    }
  }

  #take(character: string): boolean {
    if (this.bytes[this.#position] !== character.charCodeAt(0)) return false;
    this.#position++;
    return true;
  }

  #expect(character: string, what: string): void {
    if (this.#take(character)) return;
    const byte = this.bytes[this.#position];
    const found = byte === undefined
      ? "the header ends"
      : JSON.stringify(String.fromCharCode(byte));
    throw this.#fault(
      `at byte ${this.#position} of the header, in ${what}, ${character} is expected and ${found} found`
        .replace("the header ends found", "the header ends"),
    );
  }

  #fault(text: string): UserError {
    // A hostile name may be megabytes long, and the message goes to a terminal.
    return invalid(this.source, text.length > 300 ? `${text.slice(0, 300)}…` : text);
  }
}
