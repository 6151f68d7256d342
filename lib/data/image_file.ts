/**
 * Image files that nobody vouches for: PNG and JPEG of any size to RGB bytes, and to squares.
 *
 * The sizes that a file declares are checked before anything is decoded.
 */
import { UserError } from "../errors.ts";
import { decodeJpeg } from "./jpeg_image.ts";
import { decodePng, pngSignature } from "./png_image.ts";
import type { RgbImage } from "./rgb_image.ts";

/** Files of more bytes are refused before they are read. */
export const maxFileBytes = 1 << 26;

/**
 * Reads an image file.
 * @throws {UserError} naming the file, if it cannot be read or is no PNG or JPEG image.
 */
export async function readImageFile(path: string): Promise<RgbImage> {
  let bytes: Uint8Array;
  try {
    const { size } = await Deno.stat(path);
    if (size > maxFileBytes) {
      throw new UserError(`${path} has ${size} bytes, more than 64 MiB; give a smaller image.`);
    }
    bytes = await Deno.readFile(path);
  } catch (error) {
    if (!(error instanceof Error) || error instanceof UserError) throw error;
    throw new UserError(`Cannot read the image ${path} (${error.message}).`, { cause: error });
  }
  return decodeImage(bytes, path);
}

/**
 * Decodes a PNG or JPEG image to RGB. Grey becomes three equal channels, transparency is laid on
 * white, 16 bits are rounded to 8. A JPEG is turned as its orientation tag says.
 * @param source what an error names, a path for example
 * @throws {UserError} naming `source`, if it is no such image, is damaged or has over 64 megapixels.
 */
export function decodeImage(bytes: Uint8Array, source: string): RgbImage {
  const isPng = startsWith(bytes, pngSignature);
  if (!isPng && !startsWith(bytes, [0xff, 0xd8, 0xff])) {
    throw new UserError(`${source} is not an image; give a PNG or JPEG file.`);
  }
  try {
    return isPng ? decodePng(bytes) : decodeJpeg(bytes);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const kind = isPng ? "PNG" : "JPEG";
    throw new UserError(`${source} is a ${kind} image that cannot be read: ${error.message}.`, {
      cause: error,
    });
  }
}

/**
 * Resizes to a square, each axis on its own: bilinear with half-pixel centres, and where it
 * shrinks, the triangle filter widens by the factor, so that every pixel counts (antialiasing).
 * @param size side of the result in pixels
 */
export function resizeImage(image: RgbImage, size: number): RgbImage {
  const { width, height, channels, data } = image;
  const across = taps(width, size);
  const down = taps(height, size);
  const narrow = new Float32Array(height * size * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < size; x++) {
      const { first, weights } = across[x]!;
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        let at = (y * width + first) * channels + c;
        for (let i = 0; i < weights.length; i++, at += channels) sum += weights[i]! * data[at]!;
        narrow[(y * size + x) * channels + c] = sum;
      }
    }
  }
  const row = size * channels;
  const out = new Uint8Array(size * row);
  for (let y = 0; y < size; y++) {
    const { first, weights } = down[y]!;
    for (let x = 0; x < row; x++) {
      let sum = 0;
      let at = first * row + x;
      for (let i = 0; i < weights.length; i++, at += row) sum += weights[i]! * narrow[at]!;
      // Weights are positive and sum to 1, so only rounding could leave the range.
      out[y * row + x] = Math.min(255, Math.max(0, Math.round(sum)));
    }
  }
  return { width: size, height: size, channels, data: out };
}

/** For each output pixel of an axis, its first input pixel and the weights from there on. */
function taps(from: number, to: number): { first: number; weights: Float64Array }[] {
  const scale = from / to;
  const radius = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale - 0.5;
    const first = Math.max(0, Math.ceil(centre - radius));
    const last = Math.min(from - 1, Math.floor(centre + radius));
    const weights = Float64Array.from(
      { length: last - first + 1 },
      (_, k) => Math.max(0, 1 - Math.abs(first + k - centre) / radius),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

function startsWith(bytes: Uint8Array, prefix: readonly number[]): boolean {
  return prefix.every((byte, i) => bytes[i] === byte);
}
