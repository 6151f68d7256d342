import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { openImageFolder } from "../../lib/data/open_images.ts";
import { storedForm } from "../../lib/data/open_pictures.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder } from "./fixtures.ts";
import { classesOf, writeTree } from "./picture_files.ts";

Deno.test("the stored size suits the model's input", () => {
  assertEquals(storedForm({ imageSize: 32 }), { size: 40, fit: "crop" });
  assertEquals(storedForm({ imageSize: 72 }), { size: 96, fit: "crop" });
  assertEquals(storedForm({ imageSize: 224 }), { size: 280, fit: "crop" });
  assertEquals(storedForm({ imageSize: 72, fit: "squash" }), { size: 72, fit: "squash" });
  assertEquals(storedForm({ imageSize: 72, storedSize: 50 }), { size: 50, fit: "crop" });
});

Deno.test("splits are the seed's, the decoding is not, and balance is told", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, { ...classesOf(["a", "b"], 10), "c/only.png": 1 });
    const notices: string[] = [];
    const open = (seed: number) =>
      openImageFolder(`${folder}/photos`, {
        ...{ seed, storedSize: 8, workers: 1, preparedRoot: `${folder}/prepared` },
        onNotice: (text) => notices.push(text),
      });
    const one = await open(1);
    assertEquals(notices, [
      "folder:photos: 17 train, 2 validation and 2 test pictures; from 1 (c) to 8 (a) of a class " +
      "to train on.",
      "3 classes: 0 = a, 1 = b, 2 = c.",
      "Too few pictures of c to hold out one for validation.",
      "Too few pictures of c to hold out one for test.",
    ]);
    assertEquals([...one.train.labels.slice(0, 5)], [0, 1, 2, 0, 1]);
    const two = await open(2);
    assertEquals(two.train.images === one.train.images, false);
    assertEquals(one.identity === two.identity, false);
    assertEquals((await open(1)).identity, one.identity);
    assertEquals((await Array.fromAsync(Deno.readDir(`${folder}/prepared`))).length, 1);
  }));

Deno.test("identity does not depend on where the pictures lie, but on what they are", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/x/photos`, classesOf(["a", "b"], 3));
    await writeTree(`${folder}/y/photos`, classesOf(["a", "b"], 3));
    const options = { storedSize: 8, workers: 1, preparedRoot: `${folder}/prepared` };
    const x = await openImageFolder(`${folder}/x/photos`, options);
    assertEquals((await openImageFolder(`${folder}/y/photos`, options)).identity, x.identity);
    await writeTree(`${folder}/y/photos`, { "a/0000.png": 123 });
    const changed = await openImageFolder(`${folder}/y/photos`, options);
    assertEquals(changed.identity === x.identity, false);
  }));

Deno.test("a class of broken files alone is refused in a sentence", () =>
  inFolder(async (folder) => {
    await writeTree(folder, { ...classesOf(["a", "b"], 2), "c/1.png": "x", "c/2.png": "GIF89a" });
    const refusal = await assertRejects(
      () => openImageFolder(folder, { storedSize: 8, workers: 1, preparedRoot: `${folder}/.p` }),
      UserError,
      'None of the 2 pictures of the class "c" can be read',
    );
    assertStringIncludes(refusal.message, "c/1.png is text");
  }));
