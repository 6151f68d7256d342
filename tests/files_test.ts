import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  openInPlace,
  readBounded,
  readBoundedFile,
  readFolder,
  readSmallText,
  removeFile,
  removeTemporaries,
  syncFolder,
  writeFileAtomic,
} from "../lib/files.ts";
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

Deno.test("a temporary file left under the next name is no hindrance, nor a link of that name", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a`;
    let serial = 0;
    await writeFileAtomic(path, bytes("x"), async () => {
      const [name] = (await names(folder)).filter((name) => name.startsWith("."));
      serial = Number(name!.split("-").at(-1));
    });
    await Deno.writeTextFile(`${folder}/victim`, "mine");
    for (const next of [1, 2]) {
      const name = `${folder}/.a.tmp-${Deno.pid}-${serial + next}`;
      if (next === 1) await Deno.writeTextFile(name, "half");
      else await Deno.symlink(`${folder}/victim`, name);
    }
    await writeFileAtomic(path, bytes("y"));
    assertEquals(await Deno.readTextFile(path), "y");
    assertEquals(await Deno.readTextFile(`${folder}/victim`), "mine");
  }));

Deno.test("a file that is written whole takes the place of a link, not of what it leads to", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/victim`, "mine");
    await Deno.symlink(`${folder}/victim`, `${folder}/a`);
    await writeFileAtomic(`${folder}/a`, bytes("x"));
    assertEquals(await Deno.readTextFile(`${folder}/victim`), "mine");
    assert((await Deno.lstat(`${folder}/a`)).isFile);
  }));

Deno.test("folders that are not there are named when read, synced or cleaned", () =>
  inFolder(async (folder) => {
    const path = `${folder}/none`;
    for (const use of [readFolder, syncFolder, removeTemporaries]) {
      await assertRejects(() => use(path) as Promise<unknown>, UserError, `${path}: there is no`);
    }
    await removeFile(path);
    await Deno.mkdir(`${path}/inner`, { recursive: true });
    await assertRejects(() => removeFile(path), UserError, `Cannot remove ${path}: `);
  }));

Deno.test("no more is read than was asked for, whatever the file says of its size", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a`;
    for (const size of [0, 1, 4095, 4096, 4097, 10_000]) {
      const content = Uint8Array.from({ length: size }, (_, i) => i);
      await Deno.writeFile(path, content);
      const read = await readBoundedFile(path, 10_000, "a test");
      assertEquals(read, content);
      assertEquals(read.buffer.byteLength, size);
    }
    await assertRejects(
      () => readBoundedFile(path, 9999, "a test"),
      UserError,
      `${path} has 10000 bytes, and of a test no more than 9999 bytes is read`,
    );
    await assertRejects(() => readBoundedFile(`${folder}/b`, 1, "a"), UserError, "no such file");
    await assertRejects(() => readBoundedFile(folder, 1, "a"), UserError, "is a folder, not a");
  }));

Deno.test("a file that says it is empty and goes on is read to its bound, one that grows too", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a`;
    await Deno.writeFile(path, new Uint8Array(10_000).fill(7));
    using file = await Deno.open(path);
    for (const said of [0, 1, 5000, 9999, 10_000]) {
      await file.seek(0, Deno.SeekMode.Start);
      assertEquals((await readBounded(file, said, 10_000, path, "a test")).length, 10_000);
      await file.seek(0, Deno.SeekMode.Start);
      const read = () => readBounded(file, Math.min(said, 9000), 9000, path, "a test");
      await assertRejects(read, UserError, "has over 9000 bytes");
    }
  }));

Deno.test("devices are refused by name, also through a link", {
  ignore: Deno.build.os === "windows",
}, () =>
  inFolder(async (folder) => {
    await Deno.symlink("/dev/zero", `${folder}/link`);
    for (const path of ["/dev/zero", "/dev/null", `${folder}/link`]) {
      const says = `${path} is a device, not a regular file`;
      await assertRejects(() => readBoundedFile(path, 10, "a test"), UserError, says);
      await assertRejects(() => readSmallText(path), UserError, says);
    }
  }));

Deno.test("a link to a regular file may be read, but is not written through", () =>
  inFolder(async (folder) => {
    const [victim, path] = [`${folder}/victim`, `${folder}/a`];
    await Deno.writeTextFile(victim, "mine");
    await Deno.symlink(victim, path);
    assertEquals(await readSmallText(path), "mine");
    await assertRejects(
      () => openInPlace(path),
      UserError,
      `${path} is a link, not a regular file`,
    );
    await Deno.remove(path);
    await Deno.link(victim, path);
    await assertRejects(() => openInPlace(path), UserError, `${path} is the same file as another`);
    await Deno.remove(path);
    await Deno.symlink(`${folder}/absent`, path);
    await assertRejects(() => openInPlace(path), UserError, "is a link");
    assertEquals(await names(folder), ["a", "victim"]);
    assertEquals(await Deno.readTextFile(victim), "mine");
  }));

Deno.test("a file is opened in place with its content, or made, also by many at once", () =>
  inFolder(async (folder) => {
    const path = `${folder}/a`;
    const files = await Promise.all(Array.from({ length: 8 }, () => openInPlace(path)));
    for (const file of files) file.close();
    await Deno.writeTextFile(path, "content");
    (await openInPlace(path)).close();
    assertEquals(await Deno.readTextFile(path), "content");
    await assertRejects(() => openInPlace(folder), UserError, "is a folder");
    await assertRejects(() => openInPlace(`${folder}/none/a`), UserError, "no such file or folder");
  }));
