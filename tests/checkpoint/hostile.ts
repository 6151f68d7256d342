/** Safetensors files that must be refused, each for one reason. */

/** A file with this header text, as it stands, and so many bytes of data. */
export function fileOf(header: string | Uint8Array, dataBytes = 0): Uint8Array<ArrayBuffer> {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

const one = (fields: string) => `{"a":{${fields}}}`;
const a4 = '"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}';
const entry = (name: string, begin: number, end: number) =>
  `"${name}":{"dtype":"U8","shape":[${end - begin}],"data_offsets":[${begin},${end}]}`;

/** The same file with another length of its header. */
export function withLength(
  bytes: Uint8Array<ArrayBuffer>,
  length: bigint,
): Uint8Array<ArrayBuffer> {
  new DataView(bytes.buffer).setBigUint64(0, length, true);
  return bytes;
}

/** Name, bytes, and what the message must say. */
export const hostileSafetensors: [name: string, bytes: Uint8Array<ArrayBuffer>, says: RegExp][] = [
  ["empty file", new Uint8Array(0), /0 bytes/],
  ["seven bytes", new Uint8Array(7), /7 bytes/],
  ["length only", withLength(new Uint8Array(8), 100n), /beyond the file/],
  ["header of 0 bytes", fileOf(""), /header of 0 bytes/],
  ["header over 100 MB", withLength(fileOf(`{${a4}}`, 4), 100_000_001n), /more than 100 MB/],
  ["header of 2^64-1 bytes", withLength(fileOf(`{${a4}}`, 4), 2n ** 64n - 1n), /more than 100 MB/],
  ["header of 2^63 bytes", withLength(fileOf(`{${a4}}`, 4), 2n ** 63n), /more than 100 MB/],
  ["header longer than the file", withLength(fileOf(`{${a4}}`, 4), 60n), /beyond the file/],
  ["not JSON", fileOf("hello world"), /does not begin with {/],
  ["space before the brace", fileOf(` {${a4}}`, 4), /does not begin with {/],
  ["byte order mark", fileOf(`\ufeff{${a4}}`, 4), /does not begin with {/],
  ["JSON array", fileOf("[]"), /does not begin with {/],
  ["JSON null", fileOf("null"), /does not begin with {/],
  ["never closed", fileOf(`{${a4}`, 4), /the header ends/],
  ["cut inside a string", fileOf('{"a":{"dty'), /never ends/],
  ["cut inside an escape", fileOf('{"a\\'), /never ends/],
  ["text after the brace", fileOf(`{${a4}}x`, 4), /follows the header/],
  ["second object after the brace", fileOf(`{${a4}}{}`, 4), /follows the header/],
  ["zero bytes after the brace", fileOf(`{${a4}}\0\0`, 4), /follows the header/],
  ["trailing comma", fileOf(`{${a4},}`, 4), /expected/],
  ["single quotes", fileOf("{'a':1}"), /expected/],
  ["comment", fileOf(`{/**/${a4}}`, 4), /expected/],
  ["tensor is a number", fileOf('{"a":1}'), /expected/],
  ["tensor is null", fileOf('{"a":null}'), /expected/],
  ["tensor is an array", fileOf('{"a":[]}'), /expected/],
  ["invalid UTF-8 in a name", fileOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a)), /UTF-8/],
  ["raw control character in a name", fileOf('{"a\n":{}}'), /no valid JSON string/],
  ["bad escape in a name", fileOf('{"\\x":{}}'), /no valid JSON string/],
  ["duplicate tensor", fileOf(`{${a4},${a4}}`, 4), /"a".*comes twice/],
  [
    "duplicate tensor by an escape",
    fileOf(`{${a4},${a4.replace('"a"', '"\\u0061"')}}`, 4),
    /twice/,
  ],
  [
    "duplicate field",
    fileOf(one('"dtype":"U8","dtype":"F32","shape":[4],"data_offsets":[0,4]'), 4),
    /twice/,
  ],
  ["duplicate metadata block", fileOf('{"__metadata__":{},"__metadata__":{}}'), /twice/],
  ["duplicate metadata key", fileOf('{"__metadata__":{"a":"1","a":"2"}}'), /twice/],
  ["metadata is a string", fileOf('{"__metadata__":"x"}'), /expected/],
  ["metadata value is a number", fileOf('{"__metadata__":{"a":1}}'), /expected/],
  ["metadata value is an object", fileOf('{"__metadata__":{"a":{}}}'), /expected/],
  ["unknown field", fileOf(one('"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":[]')), /unknown/],
  ["no dtype", fileOf(one('"shape":[0],"data_offsets":[0,0]')), /lacks/],
  ["no shape", fileOf(one('"dtype":"U8","data_offsets":[0,0]')), /lacks/],
  ["no offsets", fileOf(one('"dtype":"U8","shape":[0]')), /lacks/],
  ["empty tensor object", fileOf(one("")), /lacks/],
  ["unknown dtype", fileOf(one('"dtype":"F31","shape":[0],"data_offsets":[0,0]')), /dtype "F31"/],
  [
    "lower case dtype",
    fileOf(one('"dtype":"f32","shape":[0],"data_offsets":[0,0]')),
    /dtype "f32"/,
  ],
  [
    "dtype of a prototype",
    fileOf(one('"dtype":"toString","shape":[0],"data_offsets":[0,0]')),
    /unknown dtype/,
  ],
  ["dtype is a number", fileOf(one('"dtype":32,"shape":[0],"data_offsets":[0,0]')), /expected/],
  ["negative extent", fileOf(one('"dtype":"U8","shape":[-4],"data_offsets":[0,4]'), 4), /negative/],
  [
    "two negative extents",
    fileOf(one('"dtype":"U8","shape":[-2,-2],"data_offsets":[0,4]'), 4),
    /neg/,
  ],
  [
    "fractional extent",
    fileOf(one('"dtype":"U8","shape":[4.0],"data_offsets":[0,4]'), 4),
    /integer/,
  ],
  ["exponent", fileOf(one('"dtype":"U8","shape":[4e0],"data_offsets":[0,4]'), 4), /integer/],
  ["leading zero", fileOf(one('"dtype":"U8","shape":[04],"data_offsets":[0,4]'), 4), /zero/],
  ["string extent", fileOf(one('"dtype":"U8","shape":["4"],"data_offsets":[0,4]'), 4), /integer/],
  ["null extent", fileOf(one('"dtype":"U8","shape":[null],"data_offsets":[0,4]'), 4), /integer/],
  ["shape is a number", fileOf(one('"dtype":"U8","shape":4,"data_offsets":[0,4]'), 4), /expected/],
  [
    "extent over 2^53",
    fileOf(one('"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,4]'), 4),
    /too large/,
  ],
  [
    "extent of a thousand digits",
    fileOf(one(`"dtype":"U8","shape":[${"9".repeat(1000)}],"data_offsets":[0,4]`), 4),
    /too large/,
  ],
  [
    "product overflows 64 bits to 4",
    fileOf(one('"dtype":"U8","shape":[4294967296,4294967296,4],"data_offsets":[0,4]'), 4),
    /too many elements/,
  ],
  [
    "product overflows before a zero",
    fileOf(one('"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]')),
    /too many elements/,
  ],
  [
    "bytes overflow",
    fileOf(one('"dtype":"F64","shape":[9007199254740991],"data_offsets":[0,4]'), 4),
    /too many elements/,
  ],
  [
    "huge tensor in a tiny file",
    fileOf(one('"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]'), 4),
    /only 4 bytes follow/,
  ],
  ["negative offset", fileOf(one('"dtype":"U8","shape":[4],"data_offsets":[-4,0]'), 4), /negative/],
  [
    "end before begin",
    fileOf(one('"dtype":"U8","shape":[4],"data_offsets":[4,0]'), 4),
    /before its/,
  ],
  [
    "end beyond the file",
    fileOf(one('"dtype":"U8","shape":[5],"data_offsets":[0,5]'), 4),
    /only 4/,
  ],
  ["one offset", fileOf(one('"dtype":"U8","shape":[4],"data_offsets":[4]'), 4), /1 data_offsets/],
  ["three offsets", fileOf(one('"dtype":"U8","shape":[4],"data_offsets":[0,2,4]'), 4), /3 data/],
  [
    "size smaller than the shape",
    fileOf(one('"dtype":"F32","shape":[4],"data_offsets":[0,4]'), 4),
    /16/,
  ],
  [
    "size larger than the shape",
    fileOf(one('"dtype":"U8","shape":[3],"data_offsets":[0,4]'), 4),
    /3 by/,
  ],
  ["overlap", fileOf(`{${entry("a", 0, 4)},${entry("b", 2, 6)}}`, 6), /"b" overlaps/],
  ["same bytes twice", fileOf(`{${entry("a", 0, 4)},${entry("b", 0, 4)}}`, 4), /overlaps/],
  ["inner overlap", fileOf(`{${entry("a", 0, 6)},${entry("b", 2, 4)}}`, 6), /overlaps/],
  ["hole at the start", fileOf(`{${entry("a", 2, 4)}}`, 4), /hole/],
  ["hole in the middle", fileOf(`{${entry("a", 0, 2)},${entry("b", 4, 6)}}`, 6), /hole/],
  ["bytes after the last tensor", fileOf(`{${a4}}`, 5), /1 bytes after the last/],
  ["data without tensors", fileOf("{}", 4), /4 bytes after the last/],
  ["nested arrays in a shape", fileOf(one(`"dtype":"U8","shape":${"[".repeat(1e6)}`)), /integer/],
  ["nested objects", fileOf('{"a":'.repeat(1e6)), /expected|unknown|lacks|dtype/],
  ["nested arrays", fileOf(`{"a":${"[".repeat(1e6)}`), /expected/],
  ["rank of a million", fileOf(one(`"dtype":"U8","shape":[${"1,".repeat(1e6)}1]`)), /64 numbers/],
  [
    "20,000 tensors",
    fileOf(`{${Array.from({ length: 20_000 }, (_, i) => entry(`${i}`, 0, 0)).join()}}`),
    /16384 keys/,
  ],
  ["a name of 17 MiB", fileOf(`{"${"x".repeat(17 << 20)}":{}}`), /16 MiB/],
];
