/**
 * Image files that nobody vouches for, to RGB bytes.
 *
 * ImageMagick decodes. Ours is what it leaves open: which kinds are taken, by their first bytes; how
 * many pixels, checked from the header before anything is decoded, so that memory and time are
 * bounded; which warnings mean that pixels are missing; and white under what is transparent.
 */
import type { Magick, MagickWasm } from "../../deps.ts";
import { UserError } from "../../errors.ts";
import { shownPath } from "../../io_error.ts";
import { firstWebpFrame } from "./first_frame.ts";
import { readJpegHeader } from "./jpeg_header.ts";
import { kindOf, type ReadKind, readKinds } from "./kinds.ts";
import { jpegPartOf } from "./part.ts";
import { dropMagick, startMagick } from "./magick.ts";
import type { RgbImage } from "./rgb_image.ts";

/** Options of {@linkcode decodeImage}. */
export interface DecodeOptions {
  /**
   * In pixels. A JPEG is decoded at a half, a quarter or an eighth of its size as long as both
   * sides keep so many pixels, which is faster and takes less memory; by default only where whole
   * it would take more than 400 MB, from about 40 megapixels on (24 if it is progressive).
   */
  atLeast?: number;
}

/** Of an image in the order in which it is stored. */
interface Size {
  width: number;
  height: number;
}

/**
 * The most megapixels of each kind, such that the largest stay below 400 MB and 3 seconds: what a
 * decoder holds besides the image differs, and AVIF is slow.
 */
const maxMegapixels: Record<ReadKind, number> = {
  PNG: 16,
  JPEG: 64,
  WebP: 12,
  GIF: 16,
  BMP: 16,
  TIFF: 12,
  AVIF: 10,
};
/** An interlaced PNG is held whole before it becomes an image. */
const maxInterlacedMegapixels = 12;
/** What a JPEG may take besides 110 MB for Deno and the decoder. */
const maxJpegBytes = 280e6;
/** Programs write about ten; each is a pass over the whole image. */
const maxScans = 50;
/** JPEG's own limit; a row of few pixels costs as much time as one of hundreds. */
const maxSide = 65_535;

/**
 * Warnings of the decoders that mean wrong or missing pixels. Garbage between markers and a missing
 * end marker do not: phones and cameras leave them behind.
 */
const damage = /^(corrupt JPEG data: (?!\d+ extraneous)|IDAT: |not enough|read error)/i;

/**
 * Decodes an image to RGB: turned upright as its orientation tag says, transparency laid on white,
 * 16 bits rounded to 8, of several images the first.
 * @param source what an error names, a path for example
 * @throws {UserError} naming `source`, if it is none of the kinds that are read, is damaged or has
 * too many pixels.
 */
export async function decodeImage(
  bytes: Uint8Array,
  source: string,
  { atLeast }: DecodeOptions = {},
): Promise<RgbImage> {
  const kind = kindOf(bytes);
  if (!("read" in kind)) throw unreadable(bytes, shownPath(source), kind.other);
  try {
    // Before the decoder starts, which takes longer than most of the pictures.
    const part = kind.read === "JPEG" ? jpegPart(bytes, atLeast) : undefined;
    return decode(await startMagick(), bytes, kind.read, part);
  } catch (error) {
    if (!(error instanceof Error) || error instanceof UserError) throw error;
    // Only a crash leaves the decoder in a state that the next picture would suffer from.
    if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) {
      await dropMagick();
    }
    const name = `${kind.read === "AVIF" ? "an" : "a"} ${kind.read} image`;
    throw new UserError(`${shownPath(source)} is ${name} that cannot be read: ${inWords(error)}.`, {
      cause: error,
    });
  }
}

function unreadable(bytes: Uint8Array, source: string, other: string | undefined): UserError {
  const last = readKinds.length - 1;
  const give = `give a ${readKinds.slice(0, last).join(", ")} or ${readKinds[last]} file`;
  if (bytes.length === 0) return new UserError(`${source} is empty; ${give}.`);
  if (other === undefined) return new UserError(`${source} is no kind of image we know; ${give}.`);
  return new UserError(`${source} is ${other}; ${give}.`);
}

function decode(
  magick: MagickWasm,
  file: Uint8Array,
  kind: ReadKind,
  part: Size | undefined,
): RgbImage {
  const { MagickFormat, MagickImage, MagickReadSettings } = magick;
  const formats: Record<ReadKind, Magick.MagickFormat> = {
    PNG: MagickFormat.Png,
    JPEG: MagickFormat.Jpeg,
    WebP: MagickFormat.WebP,
    GIF: MagickFormat.Gif,
    BMP: MagickFormat.Bmp,
    TIFF: MagickFormat.Tiff,
    AVIF: MagickFormat.Avif,
  };
  const bytes = kind === "WebP" ? firstWebpFrame(file) : file;
  const settings = new MagickReadSettings({ format: formats[kind], frameIndex: 0, frameCount: 1 });
  if (part) settings.setDefine(MagickFormat.Jpeg, "size", `${part.width}x${part.height}`);
  if (kind !== "JPEG") {
    const info = magick.MagickImageInfo.create(bytes, settings);
    const isInterlaced = kind === "PNG" && info.interlace !== magick.Interlace.NoInterlace;
    checkSize(info, kind, isInterlaced ? maxInterlacedMegapixels : maxMegapixels[kind]);
  }
  const image = MagickImage.create();
  try {
    const warnings: string[] = [];
    image.onWarning = ({ error }) => {
      const texts = [error, ...error.relatedErrors].map(inWords);
      warnings.push(...texts.filter((text) => damage.test(text)));
    };
    image.read(bytes, settings);
    if (warnings.length > 0) throw new Error(warnings[0]);
    const shown: Magick.ColorSpace[] = [magick.ColorSpace.sRGB, magick.ColorSpace.Gray];
    if (!shown.includes(image.colorSpace)) image.colorSpace = magick.ColorSpace.sRGB;
    if (image.hasAlpha) {
      image.backgroundColor = magick.MagickColors.White;
      image.alpha(magick.AlphaAction.Remove);
    }
    return upright(image, kind);
  } finally {
    image.dispose();
  }
}

/** Bytes that are copied out of the decoder's memory at once. */
const stripBytes = 1 << 20;

/**
 * The image's pixels, as they were seen (EXIF 2.32, tag 274); those of a frame that is smaller than
 * its animation on white. Strip by strip, since a copy to turn would be the third of the image.
 */
function upright(image: Magick.IMagickImage, kind: ReadKind): RgbImage {
  const { width, height, page } = image;
  const orientation = image.orientation <= 8 ? image.orientation : 1;
  const isFrame = kind === "GIF" && page.width > 0 && page.height > 0;
  const stored = isFrame ? { width: page.width, height: page.height } : { width, height };
  if (isFrame) checkSize(stored, kind, maxMegapixels[kind]);
  const data = new Uint8Array(stored.width * stored.height * 3);
  if (width < stored.width || height < stored.height) data.fill(255);
  // From 5 on, rows are columns.
  const turned = orientation >= 5;
  const seen = turned ? { width: stored.height, height: stored.width } : stored;
  // How far the next stored pixel and the next stored row lie apart in what is seen.
  const across = (turned ? seen.width : 1) * ([2, 3, 7, 8].includes(orientation) ? -3 : 3);
  const down = (turned ? 1 : seen.width) * ([3, 4, 6, 7].includes(orientation) ? -3 : 3);
  const origin = (across < 0 ? -across * (stored.width - 1) : 0) +
    (down < 0 ? -down * (stored.height - 1) : 0);
  const [left, top] = isFrame ? [page.x, page.y] : [0, 0];
  const columns = Math.min(width, stored.width - left);
  const end = Math.min(height, stored.height - top);
  const rows = Math.max(1, Math.floor(stripBytes / (3 * width)));
  image.getPixels((pixels) => {
    for (let y = 0; y < end && columns > 0; y += rows) {
      const count = Math.min(rows, end - y);
      const strip = pixels.toByteArray(0, y, width, count, "RGB");
      if (!strip) throw new Error("its pixels cannot be converted to RGB");
      for (let row = 0; row < count; row++) {
        let from = row * width * 3;
        let to = origin + (top + y + row) * down + left * across;
        if (across === 3) {
          data.set(strip.subarray(from, from + columns * 3), to);
          continue;
        }
        for (let x = 0; x < columns; x++, from += 3, to += across) {
          data[to] = strip[from]!;
          data[to + 1] = strip[from + 1]!;
          data[to + 2] = strip[from + 2]!;
        }
      }
    }
  });
  return { ...seen, channels: 3, data };
}

/** @throws {Error} when an image of that size is empty or too large. */
function checkSize({ width, height }: Size, kind: ReadKind, megapixels: number): void {
  if (width === 0 || height === 0) throw new Error(`it is ${width}x${height} pixels`);
  if (Math.max(width, height) > maxSide) {
    throw new Error(`it is ${width}x${height} pixels, and no side may have more than ${maxSide}`);
  }
  if (width * height > megapixels * 1e6) {
    throw new Error(
      `${width}x${height} pixels are more than the ${megapixels} megapixels up to which ${kind} is read; make it smaller`,
    );
  }
}

/**
 * The size to ask of libjpeg, a half, a quarter or an eighth of what is stored, such that memory
 * suffices and both sides keep `atLeast` pixels; none for the whole size.
 * @throws {Error} when the file declares what cannot be, or would take too much.
 */
function jpegPart(bytes: Uint8Array, atLeast: number | undefined): Size | undefined {
  const { width, height, components, coefficientBytes, scans } = readJpegHeader(bytes);
  checkSize({ width, height }, "JPEG", maxMegapixels.JPEG);
  // Every 8x8 block takes a bit at least, so fewer bytes cannot hold the declared size.
  if (coefficientBytes === 0 && bytes.length * 8 < Math.ceil(width / 8) * Math.ceil(height / 8)) {
    throw new Error(`its ${bytes.length} bytes cannot hold ${width}x${height} pixels`);
  }
  if (scans > maxScans) throw new Error(`it has ${scans} scans, more than ${maxScans}`);
  // The file and its copy; the image and its RGB, with CMYK converted between them.
  const pixelBytes = components > 3 ? 11 : 6;
  const needed = (part: number) =>
    2 * bytes.length + coefficientBytes + pixelBytes * width * height / part ** 2;
  if (needed(8) > maxJpegBytes) {
    const most = Math.round(maxJpegBytes / 1e6);
    throw new Error(
      `its ${width}x${height} pixels in ${scans} scans take ${
        Math.round(needed(8) / 1e6)
      } MB to decode, more than ${most}; save it as a baseline JPEG or make it smaller`,
    );
  }
  let part = 1;
  while (needed(part) > maxJpegBytes) part *= 2;
  if (atLeast !== undefined) part = jpegPartOf({ width, height }, atLeast, part);
  if (part === 1) return undefined;
  return { width: Math.floor(width / part), height: Math.floor(height / part) };
}

/** A decoder's message without the name of a source file, `WrittenLikeThis` in words. */
function inWords({ message }: Error): string {
  const text = message.replace(/ `[^]*$/, "").replace(/\.$/, "");
  const words = /^[A-Za-z]+$/.test(text)
    ? text.replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
    : text;
  return words.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());
}
