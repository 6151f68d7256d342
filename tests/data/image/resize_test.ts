import { assert, assertEquals } from "@std/assert";
import { resizeImage } from "../../../lib/data/image/resize.ts";
import type { RgbImage } from "../../../lib/data/image/rgb_image.ts";
import { gradient, grey } from "./files.ts";

Deno.test("a constant image stays constant at every size", () => {
  const image = { ...gradient(50, 31), data: new Uint8Array(50 * 31 * 3).fill(77) };
  for (const size of [1, 7, 32, 50, 113]) {
    const { width, height, data } = resizeImage(image, size);
    assertEquals([width, height, data.length], [size, size, size * size * 3]);
    assert(data.every((value) => value === 77));
  }
});

Deno.test("an image of the right size stays as it is", () => {
  const image = gradient(32, 32);
  assertEquals(resizeImage(image, 32), image);
});

Deno.test("enlarging is bilinear with half-pixel centres", () => {
  const row = { width: 2, height: 1, channels: 3, data: Uint8Array.of(0, 0, 0, 100, 100, 100) };
  const { data } = resizeImage(row as RgbImage, 4);
  assertEquals([...data.subarray(0, 12)], grey(0, 25, 75, 100));
});

Deno.test("shrinking counts every pixel: a fine pattern becomes its mean", () => {
  const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => Math.floor(i / 3) % 2 * 200);
  const small = resizeImage({ width: 64, height: 64, channels: 3, data }, 8).data;
  assert(small.every((value) => Math.abs(value - 100) <= 8), `${small}`);
});

Deno.test("shrinking by two weighs four pixels 1 3 3 1", () => {
  const data = Uint8Array.from(grey(0, 0, 0, 80, 0, 0, 0, 0));
  const { data: small } = resizeImage({ width: 8, height: 1, channels: 3, data }, 4);
  assertEquals([...small.subarray(0, 12)], grey(0, 30, 10, 0));
});

Deno.test("bicubic is Pillow's: its cubic widens by the factor, and rounding stays within a byte", () => {
  const data = Uint8Array.from(grey(0, 0, 0, 200, 0, 0, 0, 0));
  const row: RgbImage = { width: 8, height: 1, channels: 3, data };
  const { data: small } = resizeImage(row, 4, { resample: "bicubic" });
  // Weights of 0.867, 0.227, -0.070 and -0.023 on either side, over the sum of those within the row.
  assertEquals([...small.subarray(0, 12)], grey(0, 86, 22, 0));
});

Deno.test("a crop share shows the middle of the larger picture", () => {
  const image = gradient(300, 300);
  for (const resample of ["bilinear", "bicubic"] as const) {
    const whole = resizeImage(image, 248, { resample });
    const middle = resizeImage(image, 224, { resample, cropShare: 0.9 });
    for (const [x, y] of [[0, 0], [223, 0], [100, 50], [223, 223]] as const) {
      const at = (y * 224 + x) * 3;
      const from = ((y + 12) * 248 + x + 12) * 3;
      assertEquals(middle.data.subarray(at, at + 3), whole.data.subarray(from, from + 3));
    }
  }
});

Deno.test("rows that pass out of sight leave no trace: as from all rows at once", () => {
  for (
    const [width, height, size] of [[5, 1000, 7], [3, 2, 9], [300, 41, 40], [1, 1, 5]] as const
  ) {
    const data = Uint8Array.from(
      { length: width * height * 3 },
      (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 24),
    );
    const { data: got } = resizeImage({ width, height, channels: 3, data }, size);
    // Transposed, so that rows become columns, which are all at hand.
    const turned = new Uint8Array(data.length);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < 3; c++) {
          turned[(x * height + y) * 3 + c] = data[(y * width + x) * 3 + c]!;
        }
      }
    }
    const image = { width: height, height: width, channels: 3, data: turned } as const;
    const other = resizeImage(image, size).data;
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        for (let c = 0; c < 3; c++) {
          const [a, b] = [got[(y * size + x) * 3 + c]!, other[(x * size + y) * 3 + c]!];
          assert(Math.abs(a - b) <= 1, `${a} and ${b} at ${x}, ${y} of ${width}x${height}`);
        }
      }
    }
  }
});
