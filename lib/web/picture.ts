/// <reference lib="dom" />
import type { DecodeOptions } from "../data/image/decode.ts";
import { jpegPartOf } from "../data/image/part.ts";
import type { RgbImage } from "../data/image/rgb_image.ts";

/** More pixels than that take too much memory on a phone, and a model sees far fewer. */
const mostPixels = 16e6;

/**
 * Reads a picture by the browser's own decoders, as `readImageFile` reads files: upright, colours as
 * they are stored, transparency laid on white.
 *
 * @param source a file or other Blob, an `<img>`, a `<video>`, a canvas
 * @throws {DOMException} when the browser cannot decode it
 */
export async function readPicture(
  source: ImageBitmapSource,
  { atLeast }: DecodeOptions = {},
): Promise<RgbImage> {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none" } as const;
  using whole = closing(await createImageBitmap(source, options));
  const { width, height } = whole.bitmap;
  const part = atLeast !== undefined && await isJpeg(source)
    ? jpegPartOf(whole.bitmap, atLeast)
    : 1;
  const share = Math.sqrt(mostPixels / (width * height));
  if (share >= 1) return pixelsOf(whole.bitmap, part);
  using smaller = closing(
    await createImageBitmap(whole.bitmap, {
      resizeWidth: Math.ceil(width * share),
      resizeHeight: Math.ceil(height * share),
      resizeQuality: "high",
    }),
  );
  return pixelsOf(smaller.bitmap, atLeast === undefined ? 1 : jpegPartOf(smaller.bitmap, atLeast));
}

/** The memory of pictures is large, and a browser frees it late by itself. */
function closing(bitmap: ImageBitmap): Disposable & { bitmap: ImageBitmap } {
  return { bitmap, [Symbol.dispose]: () => bitmap.close() };
}

async function isJpeg(source: ImageBitmapSource): Promise<boolean> {
  if (!(source instanceof Blob)) return false;
  const [first, second] = new Uint8Array(await source.slice(0, 2).arrayBuffer());
  return first === 0xff && second === 0xd8;
}

/**
 * The pixels at a part of the size. Deno's decoder takes JPEG's own way of being smaller, an eighth of
 * which is just this, the means of squares.
 */
function pixelsOf(bitmap: ImageBitmap, part: number): RgbImage {
  const canvas = document.createElement("canvas");
  const { width: from, height: rows } = bitmap;
  Object.assign(canvas, { width: from, height: rows });
  // In memory: some GPUs round colours.
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "white";
  context.fillRect(0, 0, from, rows);
  context.drawImage(bitmap, 0, 0);
  const [width, height] = [Math.ceil(from / part), Math.ceil(rows / part)];
  const data = new Uint8Array(width * height * 3);
  const sums = new Float64Array(width * 3);
  for (let y = 0; y < height; y++) {
    const tall = Math.min(part, rows - y * part);
    const strip = context.getImageData(0, y * part, from, tall).data;
    sums.fill(0);
    for (let i = 0, at = 0; i < strip.length; i += 4) {
      const to = Math.floor(at / part) * 3;
      for (let c = 0; c < 3; c++) sums[to + c]! += strip[i + c]!;
      at = at + 1 === from ? 0 : at + 1;
    }
    for (let x = 0; x < width; x++) {
      const count = tall * Math.min(part, from - x * part);
      for (let c = 0; c < 3; c++) {
        data[(y * width + x) * 3 + c] = toEven(sums[3 * x + c]! / count);
      }
    }
  }
  return { width, height, channels: 3, data };
}

/** Rounds halves, of which means of few pixels are full, up as often as down. */
function toEven(value: number): number {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + floor % 2 : Math.round(value);
}
