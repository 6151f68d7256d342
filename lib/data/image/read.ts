import { ioError } from "../../files.ts";
import { UserError } from "../../errors.ts";
import { decodeImage, type DecodeOptions } from "./decode.ts";
import type { RgbImage } from "./rgb_image.ts";

/** Files of more bytes are refused before they are read. */
const maxFileBytes = 1 << 26;

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
  return await decodeImage(await readPicture(path), path, options);
}

async function readPicture(path: string): Promise<Uint8Array> {
  try {
    // Before it is opened: opening a pipe waits for its other end.
    const { isFile, isDirectory, size } = await Deno.stat(path);
    if (isDirectory) throw new UserError(`Cannot read ${path}: it is a folder, not a file.`);
    if (!isFile) throw new UserError(`Cannot read ${path}: it is a device or pipe, not a file.`);
    if (size > maxFileBytes) {
      throw new UserError(`${path} has ${size} bytes, more than 64 MiB; give a smaller image.`);
    }
    using file = await Deno.open(path);
    const bytes = new Uint8Array(size);
    let done = 0;
    while (done < size) {
      const read = await file.read(bytes.subarray(done));
      if (read === null) break;
      done += read;
    }
    return bytes.subarray(0, done);
  } catch (error) {
    const told = ioError(error, "read", path);
    if (told instanceof UserError || !(told instanceof Error)) throw told;
    throw new UserError(`Cannot read ${path} (${told.message}).`, { cause: error });
  }
}
