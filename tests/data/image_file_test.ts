import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { crc32, deflateSync } from "node:zlib";
import { decodeImage, readImageFile, resizeImage } from "../../lib/data/image_file.ts";
import { encodePng } from "../../lib/data/png_image.ts";
import type { RgbImage } from "../../lib/data/rgb_image.ts";
import { jpeg } from "../../lib/deps.ts";
import { UserError } from "../../lib/errors.ts";

function chunk(type: string, body: Uint8Array | number[]): number[] {
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(body, 8);
  view.setUint32(8 + body.length, crc32(bytes.subarray(4, 8 + body.length)));
  return [...bytes];
}

interface Png {
  width: number;
  height: number;
  depth: number;
  colour: number;
  interlace?: number;
  /** Rows with their filter bytes, before compression. */
  rows: number[];
  /** Chunks between header and pixels. */
  extra?: number[];
}

function pngFile({ width, height, depth, colour, interlace = 0, rows, extra = [] }: Png) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([depth, colour, 0, 0, interlace], 8);
  return Uint8Array.from([
    ...[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
    ...chunk("IHDR", header),
    ...extra,
    ...chunk("IDAT", deflateSync(Uint8Array.from(rows))),
    ...chunk("IEND", []),
  ]);
}

const grey = (...values: number[]) => values.flatMap((value) => [value, value, value]);

const kinds: Record<string, { png: Png; pixels: number[] }> = {
  "1 bit grey": {
    png: { width: 3, height: 2, depth: 1, colour: 0, rows: [0, 0b10100000, 0, 0b01000000] },
    pixels: grey(255, 0, 255, 0, 255, 0),
  },
  "2 bit grey": {
    png: { width: 4, height: 1, depth: 2, colour: 0, rows: [0, 0b00011011] },
    pixels: grey(0, 85, 170, 255),
  },
  "4 bit grey, odd width": {
    png: { width: 3, height: 1, depth: 4, colour: 0, rows: [0, 0x0f, 0x80] },
    pixels: grey(0, 255, 136),
  },
  "8 bit grey, filtered": {
    png: { width: 2, height: 2, depth: 8, colour: 0, rows: [1, 10, 5, 2, 1, 2] },
    pixels: grey(10, 15, 11, 17),
  },
  "16 bit grey": {
    png: { width: 2, height: 1, depth: 16, colour: 0, rows: [0, 0x80, 0x80, 0xff, 0xff] },
    pixels: grey(128, 255),
  },
  "grey with alpha, on white": {
    png: { width: 3, height: 1, depth: 8, colour: 4, rows: [0, 0, 255, 0, 0, 100, 51] },
    pixels: grey(0, 255, 224),
  },
  "RGB": {
    png: { width: 2, height: 1, depth: 8, colour: 2, rows: [0, 1, 2, 3, 4, 5, 6] },
    pixels: [1, 2, 3, 4, 5, 6],
  },
  "16 bit RGB": {
    png: { width: 1, height: 1, depth: 16, colour: 2, rows: [0, 1, 1, 0x7f, 0xff, 0xfe, 0xff] },
    pixels: [1, 127, 254],
  },
  "RGBA, on white": {
    png: { width: 2, height: 1, depth: 8, colour: 6, rows: [0, 255, 0, 0, 128, 9, 9, 9, 0] },
    pixels: [255, 127, 127, 255, 255, 255],
  },
  "16 bit RGBA": {
    png: {
      width: 1,
      height: 1,
      depth: 16,
      colour: 6,
      rows: [0, 0xff, 0xff, 0, 0, 0, 0, 0x80, 0],
    },
    pixels: [255, 127, 127],
  },
  "RGB with a transparent colour": {
    png: {
      width: 3,
      height: 1,
      depth: 8,
      colour: 2,
      rows: [0, 1, 2, 3, 1, 2, 4, 0, 0, 0],
      extra: chunk("tRNS", [0, 1, 0, 2, 0, 3]),
    },
    pixels: [255, 255, 255, 1, 2, 4, 0, 0, 0],
  },
  "RGB with a suggested palette": {
    png: {
      width: 1,
      height: 1,
      depth: 8,
      colour: 2,
      rows: [0, 1, 0, 1],
      extra: chunk("PLTE", [7, 7, 7, 8, 8, 8]),
    },
    pixels: [1, 0, 1],
  },
  "8 bit palette": {
    png: {
      width: 3,
      height: 1,
      depth: 8,
      colour: 3,
      rows: [0, 0, 1, 1],
      extra: chunk("PLTE", [1, 2, 3, 200, 100, 50]),
    },
    pixels: [1, 2, 3, 200, 100, 50, 200, 100, 50],
  },
  "2 bit palette, odd width, partly transparent": {
    png: {
      width: 3,
      height: 2,
      depth: 2,
      colour: 3,
      rows: [0, 0b00011000, 0, 0b10010000],
      extra: [...chunk("PLTE", [1, 2, 3, 4, 5, 6, 7, 8, 9]), ...chunk("tRNS", [0])],
    },
    pixels: [255, 255, 255, 4, 5, 6, 7, 8, 9, 7, 8, 9, 4, 5, 6, 255, 255, 255],
  },
  "interlaced 8 bit grey": {
    // Passes 1, 6 and 7 of Adam7 are all that a 2x2 image has.
    png: { width: 2, height: 2, depth: 8, colour: 0, interlace: 1, rows: [0, 1, 0, 2, 0, 3, 4] },
    pixels: grey(1, 2, 3, 4),
  },
  "with a text and an unknown ancillary chunk": {
    png: {
      width: 1,
      height: 1,
      depth: 8,
      colour: 0,
      rows: [0, 7],
      extra: [...chunk("tEXt", [65, 0, 66]), ...chunk("vpAg", [1])],
    },
    pixels: grey(7),
  },
};

for (const [name, { png, pixels }] of Object.entries(kinds)) {
  Deno.test(`PNG to RGB: ${name}`, () => {
    const image = decodeImage(pngFile(png), "a.png");
    assertEquals([image.width, image.height, image.channels], [png.width, png.height, 3]);
    assertEquals([...image.data], pixels);
  });
}

/** A smooth picture, which JPEG hardly changes. */
function gradient(width: number, height: number): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      data.set([(200 * x) / width, (200 * y) / height, 128], (y * width + x) * 3);
    }
  }
  return { width, height, channels: 3, data };
}

function jpegFile({ width, height, data }: RgbImage, quality = 95): Uint8Array {
  const rgba = new Uint8Array(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) rgba.set(data.subarray(3 * i, 3 * i + 3), 4 * i);
  return Uint8Array.from(jpeg.encode({ width, height, data: rgba }, quality).data);
}

Deno.test("JPEG to RGB", () => {
  const image = gradient(37, 21);
  const back = decodeImage(jpegFile(image), "a.jpg");
  assertEquals([back.width, back.height, back.channels], [37, 21, 3]);
  assertEquals(back.data.length, image.data.length);
  const errors = back.data.map((value, i) => Math.abs(value - image.data[i]!));
  assert(Math.max(...errors) <= 12, `${Math.max(...errors)}`);
});

/** A JPEG file with a camera's EXIF data after its first marker. */
function withExif(file: Uint8Array, tiff: number[]): Uint8Array {
  const body = [...new TextEncoder().encode("Exif\0\0"), ...tiff];
  const length = body.length + 2;
  const segment = [0xff, 0xe1, length >> 8, length & 255, ...body];
  return Uint8Array.from([...file.subarray(0, 2), ...segment, ...file.subarray(2)]);
}

/** A TIFF header and a folder of two tags, the second of which is the orientation. */
function orientationTag(value: number, little: boolean): number[] {
  const two = (n: number) => little ? [n & 255, n >> 8] : [n >> 8, n & 255];
  const four = (n: number) => little ? [...two(n), 0, 0] : [0, 0, ...two(n)];
  return [
    ...(little ? [0x49, 0x49] : [0x4d, 0x4d]),
    ...[...two(42), ...four(8), ...two(2)],
    ...[...two(0x0100), ...two(3), ...four(1), ...two(32), 0, 0],
    ...[...two(0x0112), ...two(3), ...four(1), ...two(value), 0, 0],
    ...four(0),
  ];
}

/** Where the stored top left and top right pixels are seen, by orientation from 1 (EXIF 2.32). */
const seenCorners = [
  ["top left", "top right"],
  ["top right", "top left"],
  ["bottom right", "bottom left"],
  ["bottom left", "bottom right"],
  ["top left", "bottom left"],
  ["top right", "bottom right"],
  ["bottom right", "top right"],
  ["bottom left", "top left"],
];

seenCorners.forEach((corners, index) => {
  const orientation = index + 1;
  Deno.test(`a JPEG of orientation ${orientation} is turned upright`, () => {
    const [width, height] = [32, 16];
    const data = new Uint8Array(width * height * 3);
    // The top left quarter is red, the top right one green.
    for (let y = 0; y < 8; y++) {
      for (let x = 0; x < width; x++) data[(y * width + x) * 3 + (x < 16 ? 0 : 1)] = 250;
    }
    const file = jpegFile({ width, height, channels: 3, data });
    for (const little of [true, false]) {
      const image = decodeImage(withExif(file, orientationTag(orientation, little)), "a.jpg");
      assertEquals([image.width, image.height], orientation < 5 ? [32, 16] : [16, 32]);
      [0, 1].forEach((channel) => {
        const [vertical, horizontal] = corners[channel]!.split(" ");
        const y = vertical === "top" ? 1 : image.height - 2;
        const x = horizontal === "left" ? 1 : image.width - 2;
        const pixel = [...image.data.subarray((y * image.width + x) * 3).subarray(0, 3)];
        assertEquals(pixel.map((value) => value > 128), [0, 1, 2].map((c) => c === channel));
      });
    }
  });
});

Deno.test("an orientation that makes no sense changes nothing", () => {
  const file = jpegFile(gradient(32, 16));
  const plain = decodeImage(file, "a.jpg");
  const good = orientationTag(6, true);
  const senseless = [
    ...[orientationTag(0, true), orientationTag(9, false), good.slice(0, 9), good.slice(0, 30), []],
    // A folder beyond the end, and one of far too many tags.
    ...[good.with(5, 255), good.with(8, 255).with(22, 0)],
  ];
  for (const tiff of senseless) assertEquals(decodeImage(withExif(file, tiff), "a.jpg"), plain);
});

Deno.test("what is encoded as PNG comes back", () => {
  const image = gradient(13, 7);
  assertEquals(decodeImage(encodePng(image), "a.png"), image);
  const one = encodePng({ width: 2, height: 1, channels: 1, data: Uint8Array.of(3, 250) });
  assertEquals([...decodeImage(one, "a.png").data], grey(3, 250));
});

const plain = { width: 1, height: 1, depth: 8, colour: 0, rows: [0, 7] };
const good = pngFile(plain);
const goodJpeg = jpegFile(gradient(64, 64));

/** `bytes` with `change` applied to a copy. */
function changed(bytes: Uint8Array, change: (copy: Uint8Array) => void): Uint8Array {
  const copy = bytes.slice();
  change(copy);
  return copy;
}

/** The JPEG's declared size replaced. */
function jpegOfSize(width: number, height: number): Uint8Array {
  return changed(goodJpeg, (copy) => {
    const frame = copy.findIndex((byte, i) => byte === 0xff && copy[i + 1] === 0xc0);
    const view = new DataView(copy.buffer);
    view.setUint16(frame + 5, height);
    view.setUint16(frame + 7, width);
  });
}

const bad: Record<string, [bytes: Uint8Array, says: RegExp]> = {
  "an empty file": [new Uint8Array(0), /is not an image; give a PNG or JPEG file/],
  "text": [new TextEncoder().encode("hello, I am text"), /is not an image/],
  "a GIF": [new TextEncoder().encode("GIF89a......"), /is not an image/],
  "only a PNG signature": [good.subarray(0, 8), /cut short/],
  "a PNG cut short": [good.subarray(0, 50), /cut short/],
  "a chunk longer than the file": [
    changed(good, (copy) => copy[33] = 0x7f),
    /cut short/,
  ],
  "a wrong checksum": [changed(good, (copy) => copy[29]! ^= 1), /crc/i],
  "no header first": [Uint8Array.from([...good].toSpliced(8, 25)), /first chunk/],
  "two headers": [pngFile({ ...plain, extra: [...good.subarray(8, 33)] }), /first chunk/],
  "zero width": [pngFile({ ...plain, width: 0 }), /0x1 pixels/],
  "2^31 x 2^31 pixels": [
    pngFile({ ...plain, width: 2 ** 31, height: 2 ** 31 }),
    /more than 64 megapixels/,
  ],
  "65 megapixels": [pngFile({ ...plain, width: 65_000, height: 1000 }), /more than 64 megapixels/],
  "8000 x 8000 pixels in a few bytes": [
    pngFile({ ...plain, width: 8000, height: 8000 }),
    /fewer pixels than it declares/,
  ],
  "an inflating bomb": [
    pngFile({ ...plain, rows: Array(3_000_000).fill(0) }),
    /more pixels than it declares/,
  ],
  "pixels that are no zlib stream": [
    changed(good, (copy) => copy[41] = 0),
    /damaged or cut short/,
  ],
  "an impossible colour type": [pngFile({ ...plain, colour: 5 }), /colour type 5/],
  "an impossible depth": [pngFile({ ...plain, depth: 3 }), /bit depth 3/],
  "4 bit RGB": [pngFile({ ...plain, depth: 4, colour: 2 }), /bit depth 4/],
  "an impossible filter": [pngFile({ ...plain, rows: [9, 7] }), /filter/],
  "an interlaced 1 bit image": [
    pngFile({ ...plain, depth: 1, interlace: 1 }),
    /without interlacing/,
  ],
  "an interlace method of 2": [pngFile({ ...plain, interlace: 2 }), /nterlace/],
  "a palette index beyond the palette": [
    pngFile({ ...plain, colour: 3, extra: chunk("PLTE", [1, 2, 3]) }),
    /palette/,
  ],
  "no palette where one must be": [pngFile({ ...plain, colour: 3 }), /palette/],
  "an empty palette": [pngFile({ ...plain, colour: 3, extra: chunk("PLTE", []) }), /palette/],
  "an unknown critical chunk": [pngFile({ ...plain, extra: chunk("ABCD", []) }), /critical/],
  "only a JPEG start": [Uint8Array.of(0xff, 0xd8, 0xff), /no size/],
  "a JPEG cut in its tables": [goodJpeg.subarray(0, 100), /no size/],
  "a JPEG cut in its pixels": [goodJpeg.subarray(0, goodJpeg.length - 200), /marker/],
  "a JPEG of 65535 x 65535 pixels": [jpegOfSize(65_535, 65_535), /more than 64 megapixels/],
  "a JPEG of 8000 x 8000 pixels in a few bytes": [jpegOfSize(8000, 8000), /cannot hold/],
  "a JPEG without width": [jpegOfSize(0, 64), /0x64 pixels/],
  "a JPEG of arithmetic coding": [
    changed(goodJpeg, (copy) => {
      copy[copy.findIndex((byte, i) => byte === 0xff && copy[i + 1] === 0xc0) + 1] = 0xc9;
    }),
    /neither baseline nor progressive/,
  ],
  "a JPEG followed by garbage markers": [
    Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    /marker/,
  ],
};

for (const [name, [bytes, says]] of Object.entries(bad)) {
  Deno.test(`refused with the file's name: ${name}`, () => {
    const start = performance.now();
    const error = assertThrows(() => decodeImage(bytes, "dir/a.img"), UserError);
    assert(error.message.startsWith("dir/a.img is "), error.message);
    assert(says.test(error.message), error.message);
    assert(performance.now() - start < 1000, "it took over a second");
  });
}

Deno.test("a thousand damaged images give a UserError or an image, and soon", () => {
  for (const file of [encodePng(gradient(16, 16)), jpegFile(gradient(16, 16))]) {
    for (let i = 0; i < 500; i++) {
      const bytes = changed(file, (copy) => copy[(i * 7919) % copy.length]! ^= 1 + (i * 31) % 255);
      try {
        decodeImage(bytes, "a");
      } catch (error) {
        assert(error instanceof UserError, `${error}`);
      }
    }
  }
});

Deno.test("a missing file and a folder are named", async () => {
  await assertRejects(() => readImageFile("/no/such.png"), UserError, "/no/such.png");
  await assertRejects(() => readImageFile("."), UserError, "Cannot read the image .");
});

Deno.test("a constant image stays constant at every size", () => {
  const image = { ...gradient(50, 31), data: new Uint8Array(50 * 31 * 3).fill(77) };
  for (const size of [1, 7, 32, 50, 113]) {
    const { width, height, data } = resizeImage(image, size);
    assertEquals([width, height, data.length], [size, size, size * size * 3]);
    assert(data.every((value) => value === 77));
  }
});

Deno.test("an image of the right size stays as it is", () => {
  const image = gradient(32, 32);
  assertEquals(resizeImage(image, 32), image);
});

Deno.test("enlarging is bilinear with half-pixel centres", () => {
  const row = { width: 2, height: 1, channels: 3, data: Uint8Array.of(0, 0, 0, 100, 100, 100) };
  const { data } = resizeImage(row as RgbImage, 4);
  assertEquals([...data.subarray(0, 12)], grey(0, 25, 75, 100));
});

Deno.test("shrinking counts every pixel: a fine pattern becomes its mean", () => {
  const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => Math.floor(i / 3) % 2 * 200);
  const small = resizeImage({ width: 64, height: 64, channels: 3, data }, 8).data;
  assert(small.every((value) => Math.abs(value - 100) <= 8), `${small}`);
});

Deno.test("shrinking by two weighs four pixels 1 3 3 1", () => {
  const data = Uint8Array.from(grey(0, 0, 0, 80, 0, 0, 0, 0));
  const { data: small } = resizeImage({ width: 8, height: 1, channels: 3, data }, 4);
  assertEquals([...small.subarray(0, 12)], grey(0, 30, 10, 0));
});
