import { assert, assertEquals, assertRejects } from "@std/assert";
import { readImageFile } from "../../../lib/data/image/read.ts";
import type { RgbImage } from "../../../lib/data/image/rgb_image.ts";
import { UserError } from "../../../lib/errors.ts";

const folder = new URL("../pictures", import.meta.url).pathname;

/** A PPM file of 8 bits. */
function readPpm(bytes: Uint8Array): RgbImage {
  const head = String.fromCharCode(...bytes.subarray(0, 64));
  const [all, width, height] = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(head)!;
  const data = bytes.subarray(all!.length);
  return { width: Number(width), height: Number(height), channels: 3, data };
}

const namesIn = (path: string) =>
  [...Deno.readDirSync(path)].filter(({ isFile }) => isFile).map(({ name }) => name).sort();

const valid = namesIn(folder).filter((name) => !/\.(ppm|md)$/.test(name));
const broken = namesIn(`${folder}/broken`);

Deno.test("the table of pictures is whole", () => {
  assertEquals([valid.length, broken.length], [41, 12]);
});

const isLossy = (name: string) => /\.(jpe?g|avif)$/i.test(name) && name !== "png-named.jpg";

for (const name of valid) {
  Deno.test(`${name} is read as a viewer shows it`, async () => {
    const want = readPpm(await Deno.readFile(`${folder}/${name}.ppm`));
    const got = await readImageFile(`${folder}/${name}`);
    assertEquals([got.width, got.height], [want.width, want.height]);
    assertEquals(got.data.length, want.data.length);
    const errors = got.data.map((value, i) => Math.abs(value - want.data[i]!));
    const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
    const most = errors.reduce((a, b) => Math.max(a, b), 0);
    if (name === "lossy.webp") assert(mean < 2, `mean error ${mean}`);
    else if (isLossy(name)) assert(mean < 1, `mean error ${mean}`);
    else assert(most <= 2, `largest error ${most}`);
  });
}

/** What the sentence about a broken picture says. */
const says: Record<string, RegExp> = {
  "cut.gif": /GIF image that cannot be read: insufficient image data/,
  "cut.jpg": /JPEG image that cannot be read: corrupt JPEG data: premature end/,
  "cut.png": /PNG image that cannot be read: unexpected end of file/,
  "cut.webp": /WebP image that cannot be read: insufficient image data/,
  "empty.jpg": /is empty/,
  "header-only.jpg": /JPEG image that cannot be read: it declares no size/,
  "html.jpg": /is an HTML page/,
  "huge.png": /60000x60000 pixels are more than the 16 megapixels/,
  "svg-named.png": /is an SVG drawing/,
  "text.png": /is text/,
  "twelve-bit.jpg": /it has 12 bits a sample/,
  "wrong-crc.png": /PNG image that cannot be read: IDA\[AB\]: bad header/,
};

for (const name of broken) {
  Deno.test(`broken/${name} is refused in a sentence that says what is wrong`, async () => {
    const path = `${folder}/broken/${name}`;
    const error = await assertRejects(() => readImageFile(path), UserError);
    assert(error.message.startsWith(`${path} is `), error.message);
    assert(says[name]!.test(error.message), error.message);
    assert(/^[^\n]+\.$/.test(error.message), error.message);
  });
}
