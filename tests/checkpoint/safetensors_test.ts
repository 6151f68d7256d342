import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  decodeSafetensors,
  type Dtype,
  encodeSafetensors,
  readSafetensorsFile,
  type TensorData,
} from "../../lib/checkpoint/safetensors.ts";
import { dtypeBytes } from "../../lib/checkpoint/safetensors_header.ts";
import { UserError } from "../../lib/errors.ts";

const golden = new URL("../golden/", import.meta.url);

/** A file with this header text, as it stands, and so many bytes of data. */
function file(header: string | Uint8Array, dataBytes = 0): Uint8Array<ArrayBuffer> {
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

function withLength(bytes: Uint8Array<ArrayBuffer>, length: bigint): Uint8Array<ArrayBuffer> {
  new DataView(bytes.buffer).setBigUint64(0, length, true);
  return bytes;
}

/** Name, bytes, and what the message must say. */
const hostile: [name: string, bytes: Uint8Array<ArrayBuffer>, says: RegExp][] = [
  ["empty file", new Uint8Array(0), /0 bytes/],
  ["seven bytes", new Uint8Array(7), /7 bytes/],
  ["length only", withLength(new Uint8Array(8), 100n), /beyond the file/],
  ["header of 0 bytes", file(""), /header of 0 bytes/],
  ["header over 100 MB", withLength(file(`{${a4}}`, 4), 100_000_001n), /more than 100 MB/],
  ["header of 2^64-1 bytes", withLength(file(`{${a4}}`, 4), 2n ** 64n - 1n), /more than 100 MB/],
  ["header of 2^63 bytes", withLength(file(`{${a4}}`, 4), 2n ** 63n), /more than 100 MB/],
  ["header longer than the file", withLength(file(`{${a4}}`, 4), 60n), /beyond the file/],
  ["not JSON", file("hello world"), /does not begin with {/],
  ["space before the brace", file(` {${a4}}`, 4), /does not begin with {/],
  ["byte order mark", file(`\ufeff{${a4}}`, 4), /does not begin with {/],
  ["JSON array", file("[]"), /does not begin with {/],
  ["JSON null", file("null"), /does not begin with {/],
  ["never closed", file(`{${a4}`, 4), /the header ends/],
  ["cut inside a string", file('{"a":{"dty'), /never ends/],
  ["cut inside an escape", file('{"a\\'), /never ends/],
  ["text after the brace", file(`{${a4}}x`, 4), /follows the header/],
  ["second object after the brace", file(`{${a4}}{}`, 4), /follows the header/],
  ["zero bytes after the brace", file(`{${a4}}\0\0`, 4), /follows the header/],
  ["trailing comma", file(`{${a4},}`, 4), /expected/],
  ["single quotes", file("{'a':1}"), /expected/],
  ["comment", file(`{/**/${a4}}`, 4), /expected/],
  ["tensor is a number", file('{"a":1}'), /expected/],
  ["tensor is null", file('{"a":null}'), /expected/],
  ["tensor is an array", file('{"a":[]}'), /expected/],
  ["invalid UTF-8 in a name", file(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a)), /UTF-8/],
  ["raw control character in a name", file('{"a\n":{}}'), /no valid JSON string/],
  ["bad escape in a name", file('{"\\x":{}}'), /no valid JSON string/],
  ["duplicate tensor", file(`{${a4},${a4}}`, 4), /"a".*comes twice/],
  ["duplicate tensor by an escape", file(`{${a4},${a4.replace('"a"', '"\\u0061"')}}`, 4), /twice/],
  [
    "duplicate field",
    file(one('"dtype":"U8","dtype":"F32","shape":[4],"data_offsets":[0,4]'), 4),
    /twice/,
  ],
  ["duplicate metadata block", file('{"__metadata__":{},"__metadata__":{}}'), /twice/],
  ["duplicate metadata key", file('{"__metadata__":{"a":"1","a":"2"}}'), /twice/],
  ["metadata is a string", file('{"__metadata__":"x"}'), /expected/],
  ["metadata value is a number", file('{"__metadata__":{"a":1}}'), /expected/],
  ["metadata value is an object", file('{"__metadata__":{"a":{}}}'), /expected/],
  ["unknown field", file(one('"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":[]')), /unknown/],
  ["no dtype", file(one('"shape":[0],"data_offsets":[0,0]')), /lacks/],
  ["no shape", file(one('"dtype":"U8","data_offsets":[0,0]')), /lacks/],
  ["no offsets", file(one('"dtype":"U8","shape":[0]')), /lacks/],
  ["empty tensor object", file(one("")), /lacks/],
  ["unknown dtype", file(one('"dtype":"F31","shape":[0],"data_offsets":[0,0]')), /dtype "F31"/],
  ["lower case dtype", file(one('"dtype":"f32","shape":[0],"data_offsets":[0,0]')), /dtype "f32"/],
  [
    "dtype of a prototype",
    file(one('"dtype":"toString","shape":[0],"data_offsets":[0,0]')),
    /unknown dtype/,
  ],
  ["dtype is a number", file(one('"dtype":32,"shape":[0],"data_offsets":[0,0]')), /expected/],
  ["negative extent", file(one('"dtype":"U8","shape":[-4],"data_offsets":[0,4]'), 4), /negative/],
  [
    "two negative extents",
    file(one('"dtype":"U8","shape":[-2,-2],"data_offsets":[0,4]'), 4),
    /neg/,
  ],
  ["fractional extent", file(one('"dtype":"U8","shape":[4.0],"data_offsets":[0,4]'), 4), /integer/],
  ["exponent", file(one('"dtype":"U8","shape":[4e0],"data_offsets":[0,4]'), 4), /integer/],
  ["leading zero", file(one('"dtype":"U8","shape":[04],"data_offsets":[0,4]'), 4), /zero/],
  ["string extent", file(one('"dtype":"U8","shape":["4"],"data_offsets":[0,4]'), 4), /integer/],
  ["null extent", file(one('"dtype":"U8","shape":[null],"data_offsets":[0,4]'), 4), /integer/],
  ["shape is a number", file(one('"dtype":"U8","shape":4,"data_offsets":[0,4]'), 4), /expected/],
  [
    "extent over 2^53",
    file(one('"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,4]'), 4),
    /too large/,
  ],
  [
    "extent of a thousand digits",
    file(one(`"dtype":"U8","shape":[${"9".repeat(1000)}],"data_offsets":[0,4]`), 4),
    /too large/,
  ],
  [
    "product overflows 64 bits to 4",
    file(one('"dtype":"U8","shape":[4294967296,4294967296,4],"data_offsets":[0,4]'), 4),
    /too many elements/,
  ],
  [
    "product overflows before a zero",
    file(one('"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]')),
    /too many elements/,
  ],
  [
    "bytes overflow",
    file(one('"dtype":"F64","shape":[9007199254740991],"data_offsets":[0,4]'), 4),
    /too many elements/,
  ],
  [
    "huge tensor in a tiny file",
    file(one('"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]'), 4),
    /only 4 bytes follow/,
  ],
  ["negative offset", file(one('"dtype":"U8","shape":[4],"data_offsets":[-4,0]'), 4), /negative/],
  ["end before begin", file(one('"dtype":"U8","shape":[4],"data_offsets":[4,0]'), 4), /before its/],
  ["end beyond the file", file(one('"dtype":"U8","shape":[5],"data_offsets":[0,5]'), 4), /only 4/],
  ["one offset", file(one('"dtype":"U8","shape":[4],"data_offsets":[4]'), 4), /1 data_offsets/],
  ["three offsets", file(one('"dtype":"U8","shape":[4],"data_offsets":[0,2,4]'), 4), /3 data/],
  [
    "size smaller than the shape",
    file(one('"dtype":"F32","shape":[4],"data_offsets":[0,4]'), 4),
    /16/,
  ],
  [
    "size larger than the shape",
    file(one('"dtype":"U8","shape":[3],"data_offsets":[0,4]'), 4),
    /3 by/,
  ],
  ["overlap", file(`{${entry("a", 0, 4)},${entry("b", 2, 6)}}`, 6), /"b" overlaps/],
  ["same bytes twice", file(`{${entry("a", 0, 4)},${entry("b", 0, 4)}}`, 4), /overlaps/],
  ["inner overlap", file(`{${entry("a", 0, 6)},${entry("b", 2, 4)}}`, 6), /overlaps/],
  ["hole at the start", file(`{${entry("a", 2, 4)}}`, 4), /hole/],
  ["hole in the middle", file(`{${entry("a", 0, 2)},${entry("b", 4, 6)}}`, 6), /hole/],
  ["bytes after the last tensor", file(`{${a4}}`, 5), /1 bytes after the last/],
  ["data without tensors", file("{}", 4), /4 bytes after the last/],
  ["nested arrays in a shape", file(one(`"dtype":"U8","shape":${"[".repeat(1e6)}`)), /integer/],
  ["nested objects", file('{"a":'.repeat(1e6)), /expected|unknown|lacks|dtype/],
  ["nested arrays", file(`{"a":${"[".repeat(1e6)}`), /expected/],
  ["rank of a million", file(one(`"dtype":"U8","shape":[${"1,".repeat(1e6)}1]`)), /64 numbers/],
  [
    "20,000 tensors",
    file(`{${Array.from({ length: 20_000 }, (_, i) => entry(`${i}`, 0, 0)).join()}}`),
    /16384 keys/,
  ],
  ["a name of 17 MiB", file(`{"${"x".repeat(17 << 20)}":{}}`), /16 MiB/],
];

Deno.test("hostile files are refused with the file's name and the fault", async (t) => {
  assert(hostile.length >= 40);
  const path = await Deno.makeTempFile({ suffix: ".safetensors" });
  try {
    for (const [name, bytes, says] of hostile) {
      await t.step(name, async () => {
        await Deno.writeFile(path, bytes);
        const start = performance.now();
        const error = await assertRejects(() => readSafetensorsFile(path), UserError);
        assert(performance.now() - start < 1000, "it took over a second");
        assert(error.message.includes(path), error.message);
        assert(says.test(error.message), error.message);
        assert(error.message.length < 1000, "the message is too long for a terminal");
        assertThrows(() => decodeSafetensors(bytes), UserError);
      });
    }
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("a sparse file of 2 GB with a bad header is refused at once", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, withLength(new Uint8Array(8), 99_999_999n));
    await Deno.truncate(path, 2_000_000_000);
    const start = performance.now();
    await assertRejects(() => readSafetensorsFile(path), UserError, "does not begin with {");
    assert(performance.now() - start < 1000);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("every dtype comes back as it was written", () => {
  const tensors = new Map<string, TensorData>();
  for (const dtype of Object.keys(dtypeBytes) as Dtype[]) {
    const data = Uint8Array.from({ length: 6 * dtypeBytes[dtype] }, (_, i) => i * 7 + 1);
    const header = `{"t":{"dtype":"${dtype}","shape":[2,3],"data_offsets":[0,${data.length}]}}`;
    const bytes = file(header, data.length);
    bytes.set(data, bytes.length - data.length);
    tensors.set(dtype, decodeSafetensors(bytes).tensors.get("t")!);
  }
  const names = { 'strange "name" \\ ü': "a\nb\\", "\\": '\\"', "": "" };
  const back = decodeSafetensors(encodeSafetensors(tensors, names));
  assertEquals({ ...back.metadata }, names);
  assertEquals(back.tensors.size, 15);
  for (const [name, tensor] of tensors) {
    assertEquals(back.tensors.get(name)!.shape, [2, 3]);
    assertEquals(back.tensors.get(name), tensor);
  }
});

Deno.test("scalars, empty tensors and no tensors survive", () => {
  const tensors = new Map<string, TensorData>([
    ["scalar", { dtype: "F32", shape: [], data: Float32Array.of(1.5) }],
    ["empty", { dtype: "F32", shape: [0, 3], data: new Float32Array(0) }],
    ["__proto__", { dtype: "U8", shape: [1], data: Uint8Array.of(3) }],
    ["7", { dtype: "I32", shape: [1], data: Int32Array.of(-3) }],
  ]);
  const back = decodeSafetensors(encodeSafetensors(tensors)).tensors;
  assertEquals([...back.keys()].sort(), ["7", "__proto__", "empty", "scalar"]);
  for (const [name, tensor] of tensors) assertEquals(back.get(name), tensor);
  assertEquals(decodeSafetensors(encodeSafetensors(new Map())).tensors.size, 0);
});

Deno.test("tensors are aligned to their elements, the data to 8 bytes", () => {
  const bytes = encodeSafetensors(
    new Map<string, TensorData>([
      ["bytes", { dtype: "U8", shape: [3], data: Uint8Array.of(1, 2, 3) }],
      ["double", { dtype: "F64", shape: [1], data: Float64Array.of(1) }],
      ["float", { dtype: "F32", shape: [1], data: Float32Array.of(1) }],
    ]),
  );
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  assertEquals(length % 8, 0);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  assertEquals(header.double.data_offsets, [0, 8]);
  assertEquals(header.float.data_offsets, [8, 12]);
  assertEquals(header.bytes.data_offsets, [12, 15]);
});

Deno.test("an array that does not fit its shape is refused when written", () => {
  const data = new Float32Array(5);
  assertThrows(
    () => encodeSafetensors(new Map([["a", { dtype: "F32", shape: [2, 3], data }]])),
    RangeError,
  );
});

Deno.test("a view into a larger buffer is written as the view alone", () => {
  const data = Float32Array.of(0, 1, 2, 3).subarray(1, 3);
  const bytes = encodeSafetensors(new Map([["a", { dtype: "F32", shape: [2], data }]]));
  assertEquals(decodeSafetensors(bytes).tensors.get("a")!.data, Float32Array.of(1, 2));
});

for (const name of ["small-flatten", "small-mean"]) {
  Deno.test(`${name}, written by another library, is read whole`, async () => {
    const path = new URL(`${name}.safetensors`, golden);
    const { metadata, tensors } = await readSafetensorsFile(path.pathname);
    const config = JSON.parse(metadata.config!);
    const { imageSize, channels, batch } = config;
    const images = tensors.get("input.images")!;
    assertEquals(images.shape, [batch, imageSize, imageSize, channels]);
    assert(images.dtype === "F32" && images.data.every(Number.isFinite));
    assertEquals(tensors.get("input.labels")!.dtype, "I32");
    assertEquals(tensors.get("output.loss")!.shape, []);
    const again = encodeSafetensors(tensors, metadata);
    assertEquals(decodeSafetensors(again).tensors, tensors);
    assertEquals(decodeSafetensors(await Deno.readFile(path)).tensors, tensors);
  });
}

Deno.test("only the selected tensors are read", async () => {
  const path = new URL("small-mean.safetensors", golden).pathname;
  const { tensors } = await readSafetensorsFile(path, { select: (name) => name === "output.loss" });
  assertEquals([...tensors.keys()], ["output.loss"]);
});

Deno.test("an absent file and a folder are refused in a sentence", async () => {
  const absent = await assertRejects(() => readSafetensorsFile("/no/such.safetensors"), UserError);
  assertEquals(
    absent.message,
    "Cannot read /no/such.safetensors: there is no such file or folder.",
  );
  await assertRejects(() => readSafetensorsFile(golden.pathname), UserError, golden.pathname);
});
