/**
 * PNG to RGB bytes and back. A file's data is inflated under the limit that its declared size sets
 * before it is decoded, so that a small file cannot ask for much memory.
 */
import { inflateSync } from "node:zlib";
import { concat, png } from "../deps.ts";
import { checkSize, type RgbImage } from "./rgb_image.ts";

/** The bytes that a PNG file begins with. */
export const pngSignature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** The bytes of a PNG file; `data` is `[height, width, channels]` with 1 (grey) or 3 channels. */
export function encodePng(
  image: { width: number; height: number; channels: number; data: Uint8Array },
): Uint8Array {
  return png.encode({ ...image, depth: 8 });
}

const samplesOfColourType: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

/** @throws {Error} saying what is wrong with the file. */
export function decodePng(bytes: Uint8Array): RgbImage {
  const decoded = png.decode(essentialPng(bytes), { checkCrc: true });
  const { width, height, depth, palette, transparency } = decoded;
  if (palette) {
    const data = png.convertIndexedToRgb({ ...decoded, palette });
    return onWhite({ width, height, channels: palette[0]!.length, data, max: 255 });
  }
  const image = { width, height, channels: decoded.channels, max: 2 ** depth - 1 };
  const data = depth < 8 ? unpackGrey(decoded.data, width, height, depth) : decoded.data;
  return onWhite({ ...image, data, clear: transparency });
}

/**
 * Checks a PNG file's structure and declared size, inflates its pixels under the limit that the
 * size sets, and drops every chunk that does not matter to them, compressed profiles for example.
 */
function essentialPng(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const kept: Uint8Array[] = [Uint8Array.from(pngSignature)];
  const pixels: Uint8Array[] = [];
  let inflatedBytes = 0;
  let isIndexed = false;
  let hasPalette = false;
  for (let at = 8, type = ""; type !== "IEND";) {
    if (at + 12 > bytes.length) throw new Error("it is cut short");
    const length = view.getUint32(at);
    if (at + 12 + length > bytes.length) throw new Error("it is cut short");
    type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if ((at === 8) !== (type === "IHDR")) throw new Error("its first chunk alone must be IHDR");
    if (type === "IHDR") {
      inflatedBytes = pngBytes(body);
      isIndexed = body[9] === 3;
    }
    if (type === "PLTE") hasPalette = length > 0;
    if (type === "IDAT") pixels.push(body);
    // In an image of full colours a palette is only a suggestion.
    const matters = ["IHDR", "tRNS", "IDAT", "IEND"].includes(type) ||
      (type === "PLTE" && isIndexed);
    if (matters) kept.push(bytes.subarray(at, at + 12 + length));
    else if (type[0]! < "a" && type !== "PLTE") {
      throw new Error(`it has an unknown critical chunk ${type}`);
    }
    at += 12 + length;
  }
  if (isIndexed && !hasPalette) throw new Error("it has no palette");
  let found: number;
  try {
    found = inflateSync(concat(pixels), { maxOutputLength: inflatedBytes }).length;
  } catch (error) {
    const tooLarge = (error as Error & { code?: string }).code === "ERR_BUFFER_TOO_LARGE";
    throw new Error(
      tooLarge ? "it holds more pixels than it declares" : "its pixels are damaged or cut short",
    );
  }
  if (found < inflatedBytes) throw new Error("it holds fewer pixels than it declares");
  return concat(kept);
}

/** The bytes of all filtered rows that a PNG header declares. */
function pngBytes(header: Uint8Array): number {
  if (header.length !== 13) throw new Error("its header has a wrong length");
  const view = new DataView(header.buffer, header.byteOffset, 13);
  const width = view.getUint32(0);
  const height = view.getUint32(4);
  checkSize(width, height);
  const [depth, colourType, , , interlace] = header.subarray(8) as unknown as number[];
  const samples = samplesOfColourType[colourType!];
  if (samples === undefined) throw new Error(`its colour type ${colourType} does not exist`);
  if (![1, 2, 4, 8, 16].includes(depth!) || (depth! < 8 && samples > 1)) {
    throw new Error(`its bit depth ${depth} does not fit its colour type`);
  }
  const rowBytes = (pixels: number) => 1 + Math.ceil(pixels * depth! * samples / 8);
  if (interlace === 0) return height * rowBytes(width);
  if (depth! < 8) {
    throw new Error(`it is interlaced with ${depth} bits a sample; save it without interlacing`);
  }
  let sum = 0;
  for (const [x, y, dx, dy] of adam7) {
    const columns = Math.ceil((width - x) / dx);
    const rows = Math.ceil((height - y) / dy);
    if (columns > 0 && rows > 0) sum += rows * rowBytes(columns);
  }
  return sum;
}

const adam7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

function unpackGrey(data: ArrayLike<number>, width: number, height: number, depth: number) {
  const out = new Uint8Array(width * height);
  const rowBytes = Math.ceil(width * depth / 8);
  const mask = 2 ** depth - 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const byte = data[y * rowBytes + (bit >> 3)]!;
      out[y * width + x] = (byte >> (8 - depth - (bit & 7))) & mask;
    }
  }
  return out;
}

/**
 * RGB bytes of grey, grey-alpha, RGB or RGBA samples from 0 to `max`, laid on white; a pixel equal
 * to `clear` is transparent.
 */
function onWhite({ width, height, channels, data, max, clear }: {
  width: number;
  height: number;
  channels: number;
  data: ArrayLike<number>;
  max: number;
  clear?: ArrayLike<number>;
}): RgbImage {
  const out = new Uint8Array(width * height * 3);
  const colours = channels >= 3 ? 3 : 1;
  for (let i = 0; i < width * height; i++) {
    const at = i * channels;
    let alpha = channels > colours ? data[at + colours]! / max : 1;
    if (clear && clear.length >= colours) {
      let equal = true;
      for (let c = 0; c < colours; c++) equal &&= data[at + c] === clear[c];
      if (equal) alpha = 0;
    }
    for (let c = 0; c < 3; c++) {
      const value = data[at + (colours === 3 ? c : 0)]! / max;
      out[i * 3 + c] = Math.round(255 * (value * alpha + 1 - alpha));
    }
  }
  return { width, height, channels: 3, data: out };
}
