/**
 * Image files that nobody vouches for: PNG and JPEG of any size to RGB bytes, and back to PNG.
 *
 * The sizes that a file declares are checked before anything is decoded, and a PNG's data is
 * inflated under a limit first, so that a small file cannot ask for much memory.
 */
import { inflateSync } from "node:zlib";
import { jpeg, png } from "../deps.ts";
import { UserError } from "../errors.ts";

/** An image of bytes, row by row, channels last. */
export interface RgbImage {
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** Red, green and blue. */
  readonly channels: 3;
  /** `[height, width, 3]` */
  readonly data: Uint8Array;
}

/** Images of more pixels are refused. */
export const maxPixels = 64_000_000;
/** Files of more bytes are refused before they are read. */
const maxFileBytes = 1 << 26;
// An ordinary photo has a few megabytes; jpeg-js holds 4 bytes a coefficient while it decodes.
const maxJpegMegabytes = 2048;

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
 * white, 16 bits are rounded to 8. Orientation tags are not applied.
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

/** The bytes of a PNG file; `data` is `[height, width, channels]` with 1 (grey) or 3 channels. */
export function encodePng(
  image: { width: number; height: number; channels: number; data: Uint8Array },
): Uint8Array {
  return png.encode({ ...image, depth: 8 });
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

const pngSignature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const samplesOfColourType: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

function decodePng(bytes: Uint8Array): RgbImage {
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
    found = inflateSync(concatenate(pixels), { maxOutputLength: inflatedBytes }).length;
  } catch (error) {
    const tooLarge = (error as Error & { code?: string }).code === "ERR_BUFFER_TOO_LARGE";
    throw new Error(
      tooLarge ? "it holds more pixels than it declares" : "its pixels are damaged or cut short",
    );
  }
  if (found < inflatedBytes) throw new Error("it holds fewer pixels than it declares");
  return concatenate(kept);
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

function decodeJpeg(bytes: Uint8Array): RgbImage {
  const { width, height } = jpegSize(bytes);
  checkSize(width, height);
  // Every 8x8 block takes a bit at least, so fewer bytes cannot hold the declared size.
  if (bytes.length * 8 < Math.ceil(width / 8) * Math.ceil(height / 8)) {
    throw new Error(`its ${bytes.length} bytes cannot hold ${width}x${height} pixels`);
  }
  const { data } = jpeg.decode(bytes, {
    useTArray: true,
    formatAsRGBA: false,
    tolerantDecoding: false,
    maxResolutionInMP: maxPixels / 1e6,
    maxMemoryUsageInMB: maxJpegMegabytes,
  });
  return { width, height, channels: 3, data };
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

function checkSize(width: number, height: number): void {
  if (width === 0 || height === 0) throw new Error(`it is ${width}x${height} pixels`);
  if (width * height > maxPixels) {
    throw new Error(`${width}x${height} pixels are more than ${maxPixels / 1e6} megapixels`);
  }
}

function startsWith(bytes: Uint8Array, prefix: readonly number[]): boolean {
  return prefix.every((byte, i) => bytes[i] === byte);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
