import { assert, assertEquals, assertRejects } from "@std/assert";
import { readImageFile } from "../../../lib/data/image/read.ts";
import { UserError } from "../../../lib/errors.ts";
import { inFolder } from "../fixtures.ts";
import { changed, frameOf, jpegFile, pngFile } from "./files.ts";
import type { Reading } from "./reader.ts";

const pictures = new URL("../pictures", import.meta.url).pathname;

/** Reads pictures in a process of its own. */
async function read(paths: string[], permission = "--allow-all"): Promise<Reading[]> {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: [
      ...["run", "--no-prompt", "--config", "deno.json", permission],
      ...[new URL("reader.ts", import.meta.url).pathname, ...paths],
    ],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trimEnd().split("\n").map((line) => JSON.parse(line));
}

Deno.test("what is no file is named and not read", async () => {
  await assertRejects(() => readImageFile("/no/such.png"), UserError, "Cannot read /no/such.png");
  await assertRejects(() => readImageFile("."), UserError, ". is a folder, not a regular file");
  if (Deno.build.os !== "windows") {
    const start = performance.now();
    await assertRejects(
      () => readImageFile("/dev/zero"),
      UserError,
      "is a device, not a regular file",
    );
    assert(performance.now() - start < 1000);
  }
});

Deno.test("a file of over 64 MiB is refused before it is read", () =>
  inFolder(async (folder) => {
    const path = `${folder}/large.png`;
    await Deno.writeFile(path, await Deno.readFile(`${pictures}/plain.png`));
    await Deno.truncate(path, 20e9);
    await assertRejects(
      () => readImageFile(path),
      UserError,
      "20000000000 bytes, and of a picture no more than 64 MiB",
    );
  }));

Deno.test("each of the odd pictures takes less than a second and 250 MB", async () => {
  const paths: string[] = [];
  for (const folder of [pictures, `${pictures}/broken`]) {
    for (const { name, isFile } of Deno.readDirSync(folder)) {
      if (isFile && !/\.(ppm|md)$/.test(name)) paths.push(`${folder}/${name}`);
    }
  }
  const readings = await read(paths);
  assertEquals(readings.length, paths.length);
  for (const { path, ms, peak } of readings.slice(1)) {
    assert(ms < 1000, `${path}: ${ms} ms`);
    assert(peak < 250e6, `${path}: ${peak} bytes`);
  }
});

Deno.test("without the right to read the decoder's file, a sentence says so", async () => {
  const path = `${pictures}/plain.png`;
  const [reading] = await read([path], `--allow-read=${path}`);
  assert(/start Deno with --allow-read\.$/.test(`${reading!.result}`), `${reading!.result}`);
});

/** Each as large as its kind may be, or larger. */
const large: Record<
  string,
  [make: () => Promise<Uint8Array> | Uint8Array, size: [number, number]]
> = {
  "a PNG of 16 megapixels, RGBA of 16 bits": [
    () =>
      pngFile({
        width: 4000,
        height: 4000,
        depth: 16,
        colour: 6,
        rows: new Uint8Array(128_004_000),
      }),
    [4000, 4000],
  ],
  "a PNG of 65,535 rows of one pixel": [
    () => pngFile({ width: 1, height: 65_535, depth: 8, colour: 0, rows: new Uint8Array(131_070) }),
    [1, 65_535],
  ],
  "a JPEG of 48 megapixels": [() => flat(8064, 6048), [4032, 3024]],
  "a grey progressive JPEG of 48 megapixels": [
    () => flat(8064, 6048, { progressive: true, grey: true }),
    [4032, 3024],
  ],
};

const flat = (width: number, height: number, options = {}) =>
  jpegFile({ width, height, data: new Uint8Array(width * height * 3).fill(90) }, options);

for (const [name, [make, size]] of Object.entries(large)) {
  Deno.test(`${name} takes less than 400 MB`, () =>
    inFolder(async (folder) => {
      const path = `${folder}/large`;
      await Deno.writeFile(path, await make());
      const [reading] = await read([path]);
      assertEquals(reading!.result, size);
      assert(reading!.peak < 400e6, `${Math.round(reading!.peak / 1e6)} MB`);
      // About 2 seconds where nothing else computes beside.
      assert(reading!.ms < 6000, `${Math.round(reading!.ms)} ms`);
    }));
}

Deno.test("a JPEG that declares more than its few bytes hold takes no memory", () =>
  inFolder(async (folder) => {
    const small = await flat(640, 640);
    const path = `${folder}/huge.jpg`;
    await Deno.writeFile(
      path,
      changed(small, (copy) => {
        const view = new DataView(copy.buffer);
        view.setUint16(frameOf(copy) + 5, 8000);
        view.setUint16(frameOf(copy) + 7, 8000);
      }),
    );
    const [reading] = await read([path]);
    assert(/cannot hold 8000x8000/.test(`${reading!.result}`), `${reading!.result}`);
    assert(reading!.peak < 250e6, `${Math.round(reading!.peak / 1e6)} MB`);
  }));
