import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { imageFolder } from "../../lib/data/image_folder.ts";
import type { PictureSet } from "../../lib/data/picture_set.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder } from "./fixtures.ts";
import { classesOf, writeTree } from "./picture_files.ts";

/** Names and labels of all pictures, in order. */
async function pictures(set: PictureSet): Promise<[string, number][]> {
  const { train, validation = 0, test = 0 } = set.counts;
  const all = await Array.fromAsync(set.read(0, train + validation + test));
  return all.map(({ name, label }) => [name, label]);
}

/** Opens a tree of such files. */
function inTree(
  files: Record<string, number | string>,
  test: (root: string) => Promise<void>,
): Promise<void> {
  return inFolder(async (root) => {
    await writeTree(root, files);
    await test(root);
  });
}

Deno.test("classes and files come in the order of code points", () =>
  inTree({
    "2/b.png": 1,
    "10/9.png": 2,
    "10/10.png": 3,
    "1/Z.png": 4,
    "1/a.png": 5,
    "\u{1f600}/x.png": 6,
    "\uff21/x.png": 7,
  }, async (root) => {
    const set = await imageFolder.open(root);
    // UTF-16 would put the emoji before the fullwidth letter.
    assertEquals(set.classNames, ["1", "10", "2", "\uff21", "\u{1f600}"]);
    assertEquals(await imageFolder.classNames(root), set.classNames);
    assertEquals((await pictures(set)).slice(0, 5), [
      ["1/Z.png", 0],
      ["1/a.png", 0],
      ["10/10.png", 1],
      ["10/9.png", 1],
      ["2/b.png", 2],
    ]);
    assertEquals(set.counts, { train: 7, validation: undefined, test: undefined });
  }));

Deno.test("labels may exceed 255", () =>
  inTree(
    classesOf(Array.from({ length: 300 }, (_, i) => String(i).padStart(3, "0")), 1),
    async (root) => {
      const found = await pictures(await imageFolder.open(root));
      assertEquals(found.at(-1), ["299/0000.png", 299]);
    },
  ));

for (const validation of ["val", "valid", "validation"]) {
  Deno.test(`train/, ${validation}/ and test/ are splits, and labels are those of train`, () =>
    inTree({
      ...classesOf(["a", "b", "c"], 2, "train/"),
      ...classesOf(["b", "c"], 1, `${validation}/`),
      ...classesOf(["a", "c"], 1, "test/"),
    }, async (root) => {
      const set = await imageFolder.open(root);
      assertEquals(set.classNames, ["a", "b", "c"]);
      assertEquals(set.counts, { train: 6, validation: 2, test: 2 });
      assertEquals((await pictures(set)).slice(6), [
        [`${validation}/b/0000.png`, 1],
        [`${validation}/c/0000.png`, 2],
        ["test/a/0000.png", 0],
        ["test/c/0000.png", 2],
      ]);
      const notices = set.notices.join("\n");
      assertStringIncludes(notices, `${validation} has no pictures of a; the labels stay`);
      assertStringIncludes(notices, "test has no pictures of b; the labels stay");
    }));
}

Deno.test("a class may be called train, or lie beside a val of its own", async () => {
  await inTree(classesOf(["train", "bus"], 2), async (root) => {
    assertEquals((await imageFolder.open(root)).classNames, ["bus", "train"]);
  });
  await inTree({ ...classesOf(["bus"], 2), "train/steam/1.png": 1 }, async (root) => {
    assertEquals((await imageFolder.open(root)).classNames, ["bus", "train"]);
  });
});

Deno.test("what is no picture is skipped and counted", () =>
  inTree({
    ...classesOf(["a", "b"], 1),
    "a/.DS_Store": "x",
    ".DS_Store": "x",
    "a/.ipynb_checkpoints/0-checkpoint.png": 1,
    ".ipynb_checkpoints/a.png": 1,
    "b/Thumbs.db": "x",
    "b/readme.txt": "x",
    "b/picture": "x",
    "stray.png": 1,
    "b/photo.HEIC": "of a kind that is not read: broken, not skipped",
  }, async (root) => {
    const set = await imageFolder.open(root);
    assertEquals((await pictures(set)).map(([name]) => name), [
      "a/0000.png",
      "b/0000.png",
      "b/photo.HEIC",
    ]);
    const real = await Deno.realPath(root);
    assertEquals(set.notices, [
      `Skipped in ${root}: 1 pictures beside the class folders.`,
      `Skipped in ${real}: 5 hidden or left by a system, 2 no pictures by name.`,
    ]);
  }));

Deno.test("pictures of a class may lie in folders of it", () =>
  inTree({ "a/x/y/1.png": 1, "a/x.png": 2, "b/1.png": 3 }, async (root) => {
    assertEquals(await pictures(await imageFolder.open(root)), [
      ["a/x.png", 0],
      ["a/x/y/1.png", 0],
      ["b/1.png", 1],
    ]);
  }));

Deno.test({
  name: "links are followed inside the tree, never out of it, and not in circles",
  // Links need a right of their own there.
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (outside) => {
      await writeTree(outside, { "secret.png": 1, "deep/1.png": 2 });
      await inTree({ ...classesOf(["a", "b"], 1), "b/more/2.png": 1 }, async (root) => {
        await Deno.symlink(`${outside}/secret.png`, `${root}/a/secret.png`);
        await Deno.symlink(`${outside}/deep`, `${root}/a/deep`);
        await Deno.symlink("../../b", `${root}/b/more/round`);
        await Deno.symlink("..", `${root}/b/up`);
        await Deno.symlink("nowhere.png", `${root}/a/dangling.png`);
        await Deno.symlink("../b/more", `${root}/a/more`);
        await Deno.symlink("../b/0000.png", `${root}/a/twin.png`);
        const set = await imageFolder.open(root);
        assertEquals((await pictures(set)).map(([name]) => name), [
          "a/0000.png",
          "a/more/2.png",
          "a/twin.png",
          "b/0000.png",
          "b/more/2.png",
        ]);
        const [notice] = set.notices;
        assertStringIncludes(notice!, "2 links that lead out of the folder");
        assertStringIncludes(notice!, "links that lead nowhere or in a circle");
      });
    }),
});

/** Trees that cannot be used, and what the sentence says. */
const refused: Record<string, [files: Record<string, number | string>, says: string[]]> = {
  "an empty folder": [{ ".keep": "" }, ["holds no class folders; name a folder that has one"]],
  "pictures but no class folders": [
    { "1.png": 1, "2.png": 2 },
    ["has 2 pictures but no class folders; put the pictures of each class into a folder"],
  ],
  "an empty class": [{ "a/1.png": 1, "b/.keep": "" }, ["The class folder", "/b holds no pictures"]],
  "an empty class of train": [
    { "train/a/1.png": 1, "train/b/notes.txt": "", "val/b/1.png": 1 },
    ["/train/b holds no pictures; put some in, or remove it"],
  ],
  "two spellings of one class": [
    { "train/Polar Bear/1.png": 1, "train/cat/1.png": 1, "val/polar_bear/1.png": 2 },
    ["spelt in two ways", '"Polar Bear" in', '"polar_bear" in', "rename one of the folders"],
  ],
  "two forms of one letter": [
    { "train/caf\u00e9/1.png": 1, "train/bar/1.png": 1, "test/cafe\u0301/1.png": 2 },
    ["spelt in two ways"],
  ],
  "a class that train lacks": [
    { "train/a/1.png": 1, "val/a/1.png": 1, "val/b/1.png": 2 },
    ['/val has the class "b", which', "/train lacks"],
  ],
  "no train": [
    { "val/a/1.png": 1, "test/a/1.png": 2 },
    ["has val/, test/ but no train/"],
  ],
  "two folders for one split": [
    { "train/a/1.png": 1, "val/a/1.png": 1, "valid/a/1.png": 2 },
    ["has both val/ and valid/; keep one of them"],
  ],
  "pictures beside the splits": [
    { "train/a/1.png": 1, "val/a/1.png": 1, "more/1.png": 2 },
    ["has train/ and also more/, which is no split"],
  ],
  "a train without classes": [
    { "train/1.png": 1, "train/2.png": 1, "val/1.png": 1 },
    ["/train has 2 pictures but no class folders"],
  ],
};

for (const [what, [files, says]] of Object.entries(refused)) {
  Deno.test(`refused in a sentence: ${what}`, () =>
    inTree(files, async (root) => {
      const { message } = await assertRejects(() => imageFolder.open(root), UserError);
      for (const text of says) assertStringIncludes(message, text);
      assertEquals(message.split("\n").length, 1);
    }));
}

Deno.test("a path that is no folder is refused in a sentence", () =>
  inTree({ "a.png": 1, "b.parquet": "PAR1" }, async (root) => {
    for (
      const [path, says] of [
        [`${root}/nowhere`, "does not exist; name a folder that has one folder a class"],
        [`${root}/a.png`, "is a file; name a folder"],
        [`${root}/b.parquet`, "or say parquet:"],
        ["", "needs a path behind it"],
      ] as const
    ) await assertRejects(() => imageFolder.open(path), UserError, says);
  }));

Deno.test({
  name: "a folder that may not be read is refused in a sentence",
  // The superuser may read everything.
  ignore: Deno.build.os === "windows" || Deno.uid() === 0,
  fn: () =>
    inTree(classesOf(["a", "b"], 1), async (root) => {
      await Deno.chmod(`${root}/b`, 0);
      try {
        const refusal = await assertRejects(() => imageFolder.open(root), UserError);
        assertStringIncludes(refusal.message, "/b: this user has no permission");
      } finally {
        await Deno.chmod(`${root}/b`, 0o700);
      }
    }),
});
