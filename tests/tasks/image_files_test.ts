import { assertEquals, assertInstanceOf } from "@std/assert";
import { UserError } from "../../lib/errors.ts";
import { imageFiles } from "../../tasks/image_files.ts";
import { inFolder } from "../data/fixtures.ts";
import { writeTree } from "../data/picture_files.ts";

const tree = {
  ...{ "b.png": 1, "a.jpg": 2, "notes.txt": "x", ".hidden.png": 3, "x[1].png": 4, "x1.png": 5 },
  ...{ "sub/c.PNG": 6, "sub/deep/d.png": 7, "empty/notes.txt": "x" },
};

/** What words mean in a folder of pictures, without the folder's name; of an error its text. */
async function filesOf(...words: string[]): Promise<string[]> {
  let files: string[] = [];
  await inFolder(async (folder) => {
    await writeTree(folder, tree);
    const given = words.map((word) => word === "-" ? word : `${folder}/${word}`);
    const found = await Array.fromAsync(imageFiles(given));
    files = found.map((each) => {
      if (typeof each === "string") return each.replace(`${folder}/`, "");
      assertInstanceOf(each, UserError);
      return `error: ${each.message.replaceAll(`${folder}/`, "")}`;
    });
  });
  return files;
}

/** Words, and the files that they mean. */
const cases: [words: string[], files: string[]][] = [
  [["b.png", "a.jpg"], ["b.png", "a.jpg"]],
  // Named when it is read.
  [["none.png"], ["none.png"]],
  // A file of that very name comes before a pattern.
  [["x[1].png"], ["x[1].png"]],
  [["x[2].png"], ["error: No file matches x[2].png; name others."]],
  [["x[0-9].png"], ["x1.png"]],
  [["sub"], ["sub/c.PNG", "sub/deep/d.png"]],
  [["sub/"], ["sub/c.PNG", "sub/deep/d.png"]],
  [["empty", "b.png"], ["error: There are no pictures in empty; name others.", "b.png"]],
  [["*.png"], ["b.png", "x1.png", "x[1].png"]],
  [["*.{png,txt}"], ["b.png", "notes.txt", "x1.png", "x[1].png"]],
  [["*/*.*"], ["empty/notes.txt", "sub/c.PNG"]],
  [["**/*.png"], ["b.png", "x1.png", "x[1].png", "sub/deep/d.png"]],
  [["s?b/**/d.*"], ["sub/deep/d.png"]],
  [[".*.png"], [".hidden.png"]],
  [["none/*.png"], [
    "error: Cannot read none: there is no such file or folder.",
  ]],
  [["-", "-", "b.png"], [
    "-",
    "error: - is standard input, which can be read but once; leave out the others.",
    "b.png",
  ]],
];

for (const [words, files] of cases) {
  Deno.test(`${words.join(" ")} means ${files.length === 1 ? "1 file" : files.length}`, async () => {
    assertEquals(await filesOf(...words), files);
  });
}

Deno.test({
  name: "links are followed, but not round in a circle",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      await writeTree(folder, { "a/b.png": 1 });
      await Deno.symlink("..", `${folder}/a/up`);
      await Deno.symlink("b.png", `${folder}/a/c.png`);
      for (const word of [`${folder}/a`, `${folder}/**/*.png`]) {
        const found = await Array.fromAsync(imageFiles([word]));
        assertEquals(found, [`${folder}/a/b.png`, `${folder}/a/c.png`]);
      }
    }),
});
