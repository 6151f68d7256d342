import { assert, assertEquals, assertRejects } from "@std/assert";
import { ioError, readSmallText, removeTemporaries, writeFileAtomic } from "../lib/files.ts";
import { UserError } from "../lib/errors.ts";
import { inFolder, names } from "./checkpoint/folder.ts";

/** Whether this user is held back by a folder's mode; root is not. */
function modesBind(): boolean {
  if (Deno.build.os === "windows") return false;
  const folder = Deno.makeTempDirSync();
  try {
    Deno.chmodSync(folder, 0o555);
    Deno.writeTextFileSync(`${folder}/a`, "");
    return false;
  } catch {
    return true;
  } finally {
    Deno.chmodSync(folder, 0o755);
    Deno.removeSync(folder, { recursive: true });
  }
}

const bytes = (text: string) => [new TextEncoder().encode(text)];

Deno.test("a file is written whole and replaces the old one", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a.txt`;
    await writeFileAtomic(path, bytes("old"));
    await writeFileAtomic(path, [...bytes("ne"), ...bytes("w")]);
    assertEquals(await Deno.readTextFile(path), "new");
    assertEquals(await names(folder), ["a.txt"]);
  }));

Deno.test("when the content fails half way, the old file stays and nothing else is left", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a.txt`;
    await writeFileAtomic(path, bytes("old"));
    async function* broken() {
      yield* bytes("half of the new");
      await Promise.resolve();
      throw new Error("the disk caught fire");
    }
    await assertRejects(() => writeFileAtomic(path, broken()), Error, "caught fire");
    assertEquals(await Deno.readTextFile(path), "old");
    assertEquals(await names(folder), ["a.txt"]);
  }));

Deno.test("when the new file cannot take the name, it is removed", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/a.txt/inner`, { recursive: true });
    await assertRejects(() => writeFileAtomic(`${folder}/a.txt`, bytes("x")), UserError, "a.txt");
    assertEquals(await names(folder), ["a.txt"]);
  }));

Deno.test("a full disk is named, and the old file stays", {
  ignore: Deno.build.os !== "linux",
}, () =>
  inFolder(async (folder) => {
    const path = `${folder}/a.txt`;
    await writeFileAtomic(path, bytes("old"));
    // The system's own error of a full disk; devices are open only to a process with all permissions.
    const program = `
      import { writeFileAtomic } from "${import.meta.resolve("../lib/files.ts")}";
      async function* full() {
        yield new Uint8Array(3);
        await Deno.writeFile("/dev/full", new Uint8Array(1));
      }
      await writeFileAtomic("${path}", full()).catch((e) => console.log(e.name, e.message));`;
    const { stdout } = await new Deno.Command("deno", { args: ["eval", program] }).output();
    const refusal = new TextDecoder().decode(stdout);
    assert(refusal.startsWith(`UserError Cannot write ${path}: the disk is full;`), refusal);
    assertEquals(await Deno.readTextFile(path), "old");
    assertEquals(await names(folder), ["a.txt"]);
  }));

Deno.test("an absent folder and a file in place of a folder are named", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/file`, "");
    for (const path of [`${folder}/absent/a`, `${folder}/file/a`]) {
      const error = await assertRejects(() => writeFileAtomic(path, bytes("x")), UserError);
      assert(error.message.startsWith(`Cannot write ${path}: `), error.message);
    }
  }));

Deno.test("a folder without permission is named (ignored for root, whom modes do not bind)", {
  ignore: !modesBind(),
}, () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/closed`, { mode: 0o555 });
    const write = () => writeFileAtomic(`${folder}/closed/a`, bytes("x"));
    await assertRejects(write, UserError, "no permission");
  }));

Deno.test("without Deno's permission to write, the flag is named", {
  permissions: { write: false },
}, async () => {
  const write = () => writeFileAtomic("/tmp/never-written", bytes("x"));
  await assertRejects(write, UserError, "--allow-write");
});

Deno.test("what a killed process left half written is removed, nothing else", () =>
  inFolder(async (folder) => {
    const left = [".a.tmp-4194305-0", ".last.safetensors.tmp-4194305-17", `.b.tmp-${Deno.pid}-0`];
    for (const name of [".hidden", "a.tmp-1-1", ...left]) {
      await Deno.writeTextFile(`${folder}/${name}`, "half");
    }
    let removed: number | undefined;
    // Not the file that is being written meanwhile.
    await writeFileAtomic(`${folder}/new`, bytes("x"), async () => {
      removed = await removeTemporaries(folder);
    });
    assertEquals(removed, left.length);
    assertEquals(await names(folder), [".hidden", "a.tmp-1-1", "new"]);
  }));

Deno.test("a text that should be small is refused before it is read when it is not", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a.json`;
    await Deno.writeTextFile(path, "{}");
    assertEquals(await readSmallText(path), "{}");
    // Sparse, so that it takes no space.
    await Deno.truncate(path, 2 ** 40);
    await assertRejects(() => readSmallText(path), UserError, "a.json has 1099511627776 bytes");
    await assertRejects(() => readSmallText(`${folder}/b.json`), Deno.errors.NotFound);
  }));
