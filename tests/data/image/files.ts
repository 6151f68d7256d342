/** Picture files that tests of this folder make. */
import { deflateSync } from "node:zlib";
import { startMagick } from "../../../lib/data/image/magick.ts";
import type { RgbImage } from "../../../lib/data/image/rgb_image.ts";
import { pngChunk } from "../../../lib/report/encode_png.ts";

/** What a PNG file declares and holds. */
export interface Png {
  width: number;
  height: number;
  depth: number;
  colour: number;
  interlace?: number;
  /** Rows with their filter bytes, before compression. */
  rows: ArrayLike<number>;
  /** Chunks between header and pixels. */
  extra?: Uint8Array[];
}

/** The bytes of a PNG file, whether or not it makes sense. */
export function pngFile(
  { width, height, depth, colour, interlace = 0, rows, extra = [] }: Png,
): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([depth, colour, 0, 0, interlace], 8);
  return joined([
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    pngChunk("IHDR", header),
    ...extra,
    pngChunk("IDAT", deflateSync(Uint8Array.from(rows))),
    pngChunk("IEND", []),
  ]);
}

/** The bytes of a JPEG file, colours not subsampled. */
export async function jpegFile(
  { width, height, data }: Pick<RgbImage, "width" | "height" | "data">,
  { quality = 95, progressive = false, grey = false, cmyk = false } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { ColorSpace, Interlace, MagickFormat, MagickImage, MagickReadSettings } =
    await startMagick();
  const settings = new MagickReadSettings({ format: MagickFormat.Rgb, width, height });
  const image = MagickImage.create();
  try {
    image.depth = 8;
    image.read(data, settings);
    if (grey) image.colorSpace = ColorSpace.Gray;
    if (cmyk) image.colorSpace = ColorSpace.CMYK;
    image.quality = quality;
    image.settings.interlace = progressive ? Interlace.Plane : Interlace.NoInterlace;
    return image.write(MagickFormat.Jpeg, (bytes) => Uint8Array.from(bytes));
  } finally {
    image.dispose();
  }
}

/** A smooth picture, which JPEG hardly changes. */
export function gradient(width: number, height: number): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      data[i++] = (200 * x) / width;
      data[i++] = (200 * y) / height;
      data[i++] = 128;
    }
  }
  return { width, height, channels: 3, data };
}

/** Equal red, green and blue for each value. */
export const grey = (...values: number[]) => values.flatMap((value) => [value, value, value]);

/** `bytes` with `change` applied to a copy. */
export function changed(
  bytes: Uint8Array,
  change: (copy: Uint8Array) => void,
): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(bytes);
  change(copy);
  return copy;
}

/** Where a JPEG file's frame header begins: its marker. */
export const frameOf = (jpeg: Uint8Array): number =>
  jpeg.findIndex((byte, i) => byte === 0xff && [0xc0, 0xc1, 0xc2].includes(jpeg[i + 1]!));

/** One after the other. */
export function joined(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
}
