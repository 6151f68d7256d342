import { readBoundedFile } from "../../files.ts";
import { decodeImage, type DecodeOptions } from "./decode.ts";
import type { RgbImage } from "./rgb_image.ts";

/** Bytes that a file of an image may have. */
export const maxFileBytes = 1 << 26;

/**
 * Reads an image file: PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF.
 *
 * Reading stays below 400 MB of memory, for which a JPEG of over 40 megapixels (24 if it is
 * progressive) comes at half its width and height, or less.
 * @throws {UserError} naming the file, if it cannot be read or is no such image.
 *
 * @example
 * ```ts
 * import { readImageFile } from "../../../mod.ts";
 *
 * const { width, height, data } = await readImageFile("docs/images/patches.png");
 * console.log(data.length === width * height * 3); // true
 * ```
 */
export async function readImageFile(path: string, options?: DecodeOptions): Promise<RgbImage> {
  const bytes = await readBoundedFile(path, maxFileBytes, "a picture");
  return await decodeImage(bytes, path, options);
}
