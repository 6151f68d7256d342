import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  decodeSafetensors,
  encodeSafetensors,
  readSafetensorsFile,
  type TensorData,
} from "../../lib/checkpoint/safetensors.ts";
import { type Dtype, dtypeBytes } from "../../lib/checkpoint/safetensors_header.ts";
import { UserError } from "../../lib/errors.ts";
import { fileOf as file, hostileSafetensors as hostile, withLength } from "./hostile.ts";

const golden = new URL("../golden/", import.meta.url);

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
