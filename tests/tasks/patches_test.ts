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

Deno.test("patches draws the image as a list of augmentations varies it", () =>
  inFolder(async (folder) => {
    const [image, out] = [`${folder}/red.png`, `${folder}/out.png`];
    const data = Uint8Array.from({ length: 8 * 8 * 3 }, (_, i) => i % 3 === 0 ? 255 : 0);
    await Deno.writeFile(image, encodePng({ width: 8, height: 8, channels: 3, data }));
    const sizes = ["--image-size", "32", "--patch-size", "16"];
    const list = ["--augment", "flip|erase(1)", "--seed", "3"];
    await runTaskWell("patches", ["--image", image, ...sizes, ...list, "--out", out]);
    const picture = await decodeImage(await Deno.readFile(out), out);
    const colours = new Set<string>();
    for (let at = 0; at < picture.data.length; at += 3) {
      colours.add(picture.data.subarray(at, at + 3).join());
    }
    assertEquals(colours, new Set(["255,255,255", "255,0,0", "128,128,128"]));
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

Deno.test("patches replaces nothing, and writes PNG into nothing that is called otherwise", () =>
  inFolder(async (folder) => {
    const out = `${folder}/patches.png`;
    const [object, ...rest] = jsonLines(await runTaskWell("patches", ["--out", out, "--json"]));
    const counts = { imageSize: 72, patchSize: 6, patches: 144, elementsPerPatch: 108 };
    assertEquals([object, rest], [{ ...counts, out }, []]);
    const before = await Deno.readFile(out);
    assertRefused(await runTask("patches", ["--out", out]), `${out} exists already`, "--out");
    assertEquals(await Deno.readFile(out), before);
    const photo = `${folder}/x.jpg`;
    assertRefused(await runTask("patches", ["--out", photo]), photo, "is PNG", ".png");
    assert(!await exists(photo), "a picture was drawn");
  }));
