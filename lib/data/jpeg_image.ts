/** JPEG to RGB bytes, turned upright as the camera's orientation tag says. */
import { jpeg } from "../deps.ts";
import { checkSize, maxPixels, type RgbImage } from "./rgb_image.ts";

// An ordinary photo has a few megabytes; jpeg-js holds 4 bytes a coefficient while it decodes.
const maxJpegMegabytes = 2048;

/** @throws {Error} saying what is wrong with the file. */
export function decodeJpeg(bytes: Uint8Array): RgbImage {
  const { width, height } = jpegSize(bytes);
  checkSize(width, height);
  // Every 8x8 block takes a bit at least, so fewer bytes cannot hold the declared size.
  if (bytes.length * 8 < Math.ceil(width / 8) * Math.ceil(height / 8)) {
    throw new Error(`its ${bytes.length} bytes cannot hold ${width}x${height} pixels`);
  }
  const decoded = jpeg.decode(bytes, {
    useTArray: true,
    formatAsRGBA: false,
    tolerantDecoding: false,
    maxResolutionInMP: maxPixels / 1e6,
    maxMemoryUsageInMB: maxJpegMegabytes,
  });
  // jpeg-js's types leave it out.
  const { exifBuffer } = decoded as { exifBuffer?: Uint8Array };
  return upright({ width, height, channels: 3, data: decoded.data }, orientationOf(exifBuffer));
}

/** The size in a JPEG file's frame header. */
function jpegSize(bytes: Uint8Array): { width: number; height: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 2; at + 9 <= bytes.length;) {
    const marker = bytes[at + 1]!;
    if (bytes[at] !== 0xff) throw new Error("a marker is missing where one must be");
    if (marker === 0xff) {
      at++;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame && marker > 0xc2) throw new Error("its coding is neither baseline nor progressive");
    if (isFrame) return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    if (marker === 0xd9 || marker === 0xda) break;
    at += 2 + view.getUint16(at + 2);
  }
  throw new Error("it declares no size before its pixels");
}

/**
 * The orientation tag of EXIF data, 1 to 8; 1 where there is none or it makes no sense, as in most
 * images that did not come from a camera.
 * @param exif what follows the five bytes `Exif\0`: one more 0, then a TIFF header
 */
function orientationOf(exif: Uint8Array | undefined): number {
  const start = 1;
  if (!exif || exif.length < start + 14) return 1;
  const view = new DataView(exif.buffer, exif.byteOffset + start, exif.length - start);
  const order = view.getUint16(0);
  if (order !== 0x4949 && order !== 0x4d4d) return 1;
  const little = order === 0x4949;
  const folder = view.getUint32(4, little);
  if (folder + 2 > view.byteLength) return 1;
  const count = view.getUint16(folder, little);
  for (let i = 0; i < count; i++) {
    const entry = folder + 2 + 12 * i;
    if (entry + 12 > view.byteLength) return 1;
    if (view.getUint16(entry, little) !== 0x0112) continue;
    const value = view.getUint16(entry + 8, little);
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/** The image as it was seen (EXIF 2.32, tag 274). */
function upright({ width, height, channels, data }: RgbImage, orientation: number): RgbImage {
  const image = { width, height, channels, data };
  if (orientation === 1) return image;
  // From 5 on, rows are columns.
  const turned = orientation >= 5;
  const [outWidth, outHeight] = turned ? [height, width] : [width, height];
  const mirrorX = [2, 3, 7, 8].includes(orientation);
  const mirrorY = [3, 4, 6, 7].includes(orientation);
  const out = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < outHeight; y++) {
    for (let x = 0; x < outWidth; x++, to += 3) {
      const [column, row] = turned ? [y, x] : [x, y];
      const from = 3 * ((mirrorY ? height - 1 - row : row) * width +
        (mirrorX ? width - 1 - column : column));
      out[to] = data[from]!;
      out[to + 1] = data[from + 1]!;
      out[to + 2] = data[from + 2]!;
    }
  }
  return { width: outWidth, height: outHeight, channels, data: out };
}
