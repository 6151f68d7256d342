/** Pictures such as people have, made up: kinds, sizes and faults by a seed. */
import { crc32 } from "node:zlib";
import { type Magick, type MagickWasm } from "../lib/deps.ts";
import { startMagick } from "../lib/data/image/magick.ts";
import {
  randomBits,
  randomNormal,
  randomUniform,
  type StreamKey,
  streamKey,
} from "../lib/random.ts";

/** Kinds by how many of a hundred are of it. */
const kinds = { jpg: 50, png: 20, webp: 10, gif: 5, bmp: 5, tif: 5, avif: 5 } as const;
type Kind = keyof typeof kinds;

/** What is made. */
export interface PhotoOptions {
  /** Files. */
  count: number;
  /** Pictures that are drawn and encoded; the others have their pixels and bytes of their own. */
  distinct: number;
  classes: number;
  seed: number;
}

/** Megapixels of the smallest, of the one in the middle, and of the largest. */
const megapixels = { least: 0.1, median: 0.45, most: 12 };
/** Of the logarithm: one in eight has more than a megapixel, one in a thousand more than seven. */
const spread = 0.9;
/** WebP and AVIF take seconds a megapixel to encode, and AVIF is read up to 10. */
const mostSlow = 3;
const brokenShare = 0.01;

/** Streams of random numbers, apart from those of `lib/random.ts`. */
const streams = { size: 1001, pixels: 1002, kind: 1003, broken: 1004 } as const;

/**
 * Writes `FOLDER/class-NN/NNNNNN.EXT`.
 * @param onFile told how many are written
 * @returns bytes in all, and how many are broken
 */
export async function writePhotos(
  folder: string,
  options: PhotoOptions,
  onFile: (done: number) => void = () => {},
): Promise<{ bytes: number; broken: number }> {
  const { count, classes, seed } = options;
  const originals = await encoded(options);
  const draws = streamKey(seed, streams.broken, 0);
  for (let i = 0; i < classes; i++) {
    await Deno.mkdir(`${folder}/${classOf(i)}`, { recursive: true });
  }
  let [bytes, broken] = [0, 0];
  for (let i = 0; i < count; i++) {
    const { kind, bytes: original } = originals[i % originals.length]!;
    let file = marks[kind](original, `${seed}/${i}`);
    if (randomUniform(draws, i) < brokenShare) {
      file = damaged(file, randomBits(draws, count + i));
      broken++;
    }
    await Deno.writeFile(`${folder}/${classOf(i % classes)}/${number(i, 6)}.${kind}`, file);
    bytes += file.length;
    onFile(i + 1);
  }
  return { bytes, broken };
}

const number = (value: number, digits: number) => String(value).padStart(digits, "0");
const classOf = (index: number) => `class-${number(index, 2)}`;

interface Encoded {
  kind: Kind;
  bytes: Uint8Array<ArrayBuffer>;
}

async function encoded({ count, distinct, seed }: PhotoOptions): Promise<Encoded[]> {
  const magick = await startMagick();
  const size = streamKey(seed, streams.size, 0);
  const words = Object.entries(kinds).flatMap(([kind, share]) =>
    Array<Kind>(share).fill(kind as Kind)
  );
  const total = Math.min(count, distinct);
  const all: Encoded[] = [];
  for (let i = 0; i < total; i++) {
    // In turn, so that few files have all kinds too.
    const kind = words[(i * 37) % words.length]!;
    const drawn = megapixels.median * Math.exp(spread * randomNormal(size, i));
    const most = kind === "webp" || kind === "avif" ? mostSlow : megapixels.most;
    const pixels = 1e6 * Math.min(most, Math.max(megapixels.least, drawn));
    const isUpright = randomUniform(size, 2 * total + i) < 0.3;
    const [long, short] = [
      Math.round(Math.sqrt(pixels * 4 / 3)),
      Math.round(Math.sqrt(pixels * 3 / 4)),
    ];
    const [width, height] = isUpright ? [short, long] : [long, short];
    const data = scene(width, height, streamKey(seed, streams.pixels, i));
    all.push({ kind, bytes: encode(magick, kind, { width, height, data }) });
  }
  return all;
}

/** Waves of colour, with a grain that keeps a PNG from becoming nothing. */
function scene(width: number, height: number, key: StreamKey): Uint8Array {
  const data = new Uint8Array(width * height * 3);
  const wave = (index: number) => 0.5 + 6 * randomUniform(key, index);
  for (let channel = 0; channel < 3; channel++) {
    const [across, down, phase] = [wave(channel), wave(3 + channel), wave(6 + channel)];
    const rows = Float64Array.from(
      { length: height },
      (_, y) => Math.sin(down * y / height + phase),
    );
    const columns = Float64Array.from({ length: width }, (_, x) => Math.sin(across * x / width));
    let grain = randomBits(key, 9 + channel);
    for (let y = 0, at = channel; y < height; y++) {
      for (let x = 0; x < width; x++, at += 3) {
        grain = (Math.imul(grain, 1664525) + 1013904223) | 0;
        data[at] = 128 + 55 * (rows[y]! + columns[x]!) + (grain >>> 29);
      }
    }
  }
  return data;
}

function encode(
  { MagickFormat, MagickImage, MagickReadSettings }: MagickWasm,
  kind: Kind,
  { width, height, data }: { width: number; height: number; data: Uint8Array },
): Uint8Array<ArrayBuffer> {
  const formats: Record<Kind, Magick.MagickFormat> = {
    jpg: MagickFormat.Jpeg,
    png: MagickFormat.Png,
    webp: MagickFormat.WebP,
    gif: MagickFormat.Gif,
    bmp: MagickFormat.Bmp3,
    tif: MagickFormat.Tiff,
    avif: MagickFormat.Avif,
  };
  const settings = new MagickReadSettings({ format: MagickFormat.Rgb, width, height });
  const image = MagickImage.create();
  try {
    image.depth = 8;
    image.read(data, settings);
    image.quality = kind === "png" ? 10 : 85;
    image.settings.setDefine(MagickFormat.Heic, "speed", "9");
    image.settings.setDefine(MagickFormat.WebP, "method", "0");
    return image.write(formats[kind], (bytes) => Uint8Array.from(bytes));
  } finally {
    image.dispose();
  }
}

/** Another file of the same pixels, by an ASCII text where the format has room for one. */
export const marks: Record<Kind, (bytes: Uint8Array, text: string) => Uint8Array<ArrayBuffer>> = {
  // A comment behind the start of image.
  jpg: (bytes, text) => inserted(bytes, 2, [0xff, 0xfe, 0, text.length + 2, ...ascii(text)]),
  // A text chunk behind the header.
  png: (bytes, text) => {
    const body = Uint8Array.from(ascii(`tEXtComment\0${text}`));
    return inserted(bytes, 33, [...word(body.length - 4), ...body, ...word(crc32(body))]);
  },
  // A comment extension before the trailer.
  gif: (bytes, text) =>
    inserted(bytes, bytes.length - 1, [0x21, 0xfe, text.length, ...ascii(text), 0]),
  // A chunk of a name that nobody knows, and the length of all.
  webp: (bytes, text) => {
    const even = text.length % 2 ? `${text} ` : text;
    const file = appended(bytes, [
      ...ascii("note"),
      ...word(even.length).reverse(),
      ...ascii(even),
    ]);
    new DataView(file.buffer).setUint32(4, file.length - 8, true);
    return file;
  },
  // A box of free space.
  avif: (bytes, text) =>
    appended(bytes, [...word(8 + text.length), ...ascii("free"), ...ascii(text)]),
  // Behind what the header speaks of, but for the length of all.
  bmp: (bytes, text) => {
    const file = appended(bytes, ascii(text));
    new DataView(file.buffer).setUint32(2, file.length, true);
    return file;
  },
  tif: (bytes, text) => appended(bytes, ascii(text)),
};

const ascii = (text: string) => [...text].map((letter) => letter.charCodeAt(0));
const word = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
const appended = (bytes: Uint8Array, more: number[]) => inserted(bytes, bytes.length, more);

function inserted(bytes: Uint8Array, at: number, more: number[]): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(bytes.length + more.length);
  file.set(bytes.subarray(0, at));
  file.set(more, at);
  file.set(bytes.subarray(at), at + more.length);
  return file;
}

/** Cut, empty, or a page that a failed download has left. */
function damaged(bytes: Uint8Array<ArrayBuffer>, draw: number): Uint8Array<ArrayBuffer> {
  if (draw % 3 === 0) return bytes.slice(0, Math.floor(bytes.length * (draw % 97) / 200));
  return draw % 3 === 1 ? new Uint8Array() : Uint8Array.from(ascii("<!doctype html><p>404</p>"));
}
