import { assertEquals } from "@std/assert";
import { readJpegHeader } from "../../../lib/data/image/jpeg_header.ts";
import { gradient, jpegFile } from "./files.ts";

Deno.test("a baseline JPEG has one scan and is decoded row by row", async () => {
  assertEquals(readJpegHeader(await jpegFile(gradient(40, 30))), {
    width: 40,
    height: 30,
    components: 3,
    coefficientBytes: 0,
    scans: 1,
  });
});

Deno.test("a progressive JPEG is held as two bytes a coefficient, and its scans are counted", async () => {
  const header = readJpegHeader(await jpegFile(gradient(40, 30), { progressive: true }));
  assertEquals(header.coefficientBytes, 40 * 30 * 3 * 2);
  assertEquals(header.scans > 2, true, `${header.scans} scans`);
  const grey = readJpegHeader(await jpegFile(gradient(40, 30), { progressive: true, grey: true }));
  assertEquals([grey.components, grey.coefficientBytes], [1, 40 * 30 * 2]);
});

Deno.test("subsampled colours take a quarter", async () => {
  const path = new URL("../pictures/subsampled.jpg", import.meta.url);
  const bytes = await Deno.readFile(path);
  // As progressive: then the coefficients are counted.
  const frame = bytes.findIndex((byte, i) => byte === 0xff && bytes[i + 1] === 0xc0);
  bytes[frame + 1] = 0xc2;
  const { width, height, coefficientBytes } = readJpegHeader(bytes);
  assertEquals(coefficientBytes, width * height * 1.5 * 2);
});

Deno.test("markers are found behind garbage", async () => {
  const file = await jpegFile(gradient(40, 30));
  const garbage = Uint8Array.of(0xff, 0xd8, 1, 2, 3, 0xff, 0xff, ...file.subarray(3));
  assertEquals(readJpegHeader(garbage), readJpegHeader(file));
});
