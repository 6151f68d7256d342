/// <reference lib="dom" />
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
export async function readPicture(source: ImageBitmapSource): Promise<RgbImage> {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none" } as const;
  using whole = closing(await createImageBitmap(source, options));
  const { width, height } = whole.bitmap;
  const share = Math.sqrt(mostPixels / (width * height));
  if (share >= 1) return pixelsOf(whole.bitmap);
  using part = closing(
    await createImageBitmap(whole.bitmap, {
      resizeWidth: Math.ceil(width * share),
      resizeHeight: Math.ceil(height * share),
      resizeQuality: "high",
    }),
  );
  return pixelsOf(part.bitmap);
}

/** The memory of pictures is large, and a browser frees it late by itself. */
function closing(bitmap: ImageBitmap): Disposable & { bitmap: ImageBitmap } {
  return { bitmap, [Symbol.dispose]: () => bitmap.close() };
}

function pixelsOf(bitmap: ImageBitmap): RgbImage {
  const { width, height } = bitmap;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  // In memory: some GPUs round colours.
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from]!;
    data[to + 1] = rgba[from + 1]!;
    data[to + 2] = rgba[from + 2]!;
  }
  return { width, height, channels: 3, data };
}
