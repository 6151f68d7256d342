import { assert, assertEquals } from "@std/assert";
import { decodeImage } from "../../lib/data/image/decode.ts";
import { encodePng } from "../../lib/report/encode_png.ts";
import { inFolder } from "../data/fixtures.ts";
import { assertRefused, exists, jsonLines, runTask, runTaskWell } from "./run_task.ts";

Deno.test("patches prints the example's four lines and draws the picture", () =>
  inFolder(async (folder) => {
    const out = `${folder}/patches.png`;
    const stdout = await runTaskWell("patches", ["--out", out]);
    assertEquals(stdout.trimEnd().split("\n"), [
      "Image size: 72 X 72",
      "Patch size: 6 X 6",
      "Patches per image: 144",
      "Elements per patch: 108",
      `Picture: ${out}`,
    ]);
    const { width, height } = await decodeImage(await Deno.readFile(out), out);
    assert(width > 2 * 432 && height > 432, `${width}x${height}`);
  }));

Deno.test("patches takes an image file and other sizes", () =>
  inFolder(async (folder) => {
    const image = `${folder}/red.png`;
    const data = Uint8Array.from({ length: 8 * 8 * 3 }, (_, i) => i % 3 === 0 ? 255 : 0);
    await Deno.writeFile(image, encodePng({ width: 8, height: 8, channels: 3, data }));
    const out = `${folder}/out.png`;
    const sizes = ["--image-size", "32", "--patch-size", "16"];
    const stdout = await runTaskWell("patches", ["--image", image, ...sizes, "--out", out]);
    assert(stdout.includes("Patches per image: 4\nElements per patch: 768\n"), stdout);
    const picture = await decodeImage(await Deno.readFile(out), out);
    const middle = ((picture.height >> 1) * picture.width + (picture.width >> 2)) * 3;
    assertEquals([...picture.data.subarray(middle, middle + 3)], [255, 0, 0]);
  }));

Deno.test("patches refuses a patch that does not divide the image", () =>
  inFolder(async (folder) => {
    const out = `${folder}/patches.png`;
    const result = await runTask("patches", ["--patch-size", "5", "--out", out]);
    assertRefused(result, "72", "5");
    assert(!await exists(out), "a picture was drawn");
  }));

Deno.test("patches refuses a folder that is not there", () =>
  inFolder(async (folder) => {
    const image = `${folder}/dot.png`;
    const dot = { width: 1, height: 1, channels: 3, data: new Uint8Array(3) } as const;
    await Deno.writeFile(image, encodePng(dot));
    const out = `${folder}/none/patches.png`;
    const result = await runTask("patches", ["--image", image, "--out", out]);
    assertRefused(result, out, "no such file or folder");
  }));

Deno.test("patches never replaces a file, nor gives a PNG another kind's name", () =>
  inFolder(async (folder) => {
    const out = `${folder}/precious.png`;
    await Deno.writeTextFile(out, "precious");
    assertRefused(await runTask("patches", ["--out", out]), out, "exists already");
    assertEquals(await Deno.readTextFile(out), "precious");
    const jpeg = `${folder}/a.jpg`;
    assertRefused(await runTask("patches", ["--out", jpeg]), jpeg, ".png");
    assert(!await exists(jpeg), "a picture was drawn");
  }));

Deno.test("patches --json prints one object", () =>
  inFolder(async (folder) => {
    const out = `${folder}/a.png`;
    assertEquals(jsonLines(await runTaskWell("patches", ["--json", "--out", out])), [
      { imageSize: 72, patchSize: 6, patches: 144, elementsPerPatch: 108, out },
    ]);
  }));
