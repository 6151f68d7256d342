import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { inFolder } from "../data/fixtures.ts";
import { classesOf, writeTree } from "../data/picture_files.ts";
import { projectRoot, withoutAdapter } from "./run_task.ts";

const pages = ["README.md", "docs/pictures.md"];

/** The commands of the one block of a page that are about `folder:photos`, a line each. */
async function commandsOf(page: string): Promise<string[]> {
  const text = await Deno.readTextFile(`${projectRoot}${page}`);
  const blocks = [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block]) => block!)
    .filter((block) => block.includes("folder:photos") && block.includes("deno task predict"));
  assertEquals(blocks.length, 1, page);
  return blocks[0]!.trimEnd().split("\n");
}

/** Runs a line of a page in a folder; what it prints. */
async function run(line: string, folder: string): Promise<string> {
  const [deno, ...args] = line.split(" ");
  assertEquals(deno, "deno");
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args,
    cwd: folder,
    // The other tests of this folder compute on wasm too, and pictures this few are soon done.
    env: { NO_COLOR: "1", ...withoutAdapter },
    stdin: "null",
  }).output();
  assertEquals(code, 0, `${line}\n${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

Deno.test("README and docs/pictures.md have the same commands for a folder of photographs", async () => {
  const [readme, pictures] = await Promise.all(pages.map(commandsOf));
  assertEquals(readme, pictures);
  assertEquals(readme!.map((line) => line.split(" ").slice(0, 3).join(" ")), [
    ...["deno task train", "deno task eval", "deno task predict"],
  ]);
});

Deno.test({
  name: "a folder of photographs becomes predictions by the commands of the README, word for word",
  // Links need a right of their own there.
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      // A copy of the project, as far as tasks need one; what they write lies in the folder.
      for (const name of ["deno.json", "deno.lock", "lib", "tasks", "mod.ts"]) {
        await Deno.symlink(`${projectRoot}${name}`, `${folder}/${name}`);
      }
      await writeTree(`${folder}/photos`, classesOf(["cat", "dog"], 10));
      const [train, evaluate, predict] = await commandsOf(pages[0]!);
      assertStringIncludes(await run(train!, folder), "16 train, 2 validation and 2 test pictures");
      assertStringIncludes(await run(evaluate!, folder), "runs/photos/best.safetensors");
      const rows = (await run(predict!, folder)).trimEnd().split("\n");
      assertEquals(rows.length, 20);
      for (const row of rows) {
        assert(/^ *\d+\.\d\d % {2}(cat|dog) {2}photos\/(cat|dog)\/\d{4}\.png$/.test(row), row);
      }
    }),
});
