import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { imageFolder } from "../../../lib/data/image_folder.ts";
import { prepare } from "../../../lib/data/prepared/prepare.ts";
import { readRecords, shardPath } from "../../../lib/data/prepared/shard.ts";
import { UserError } from "../../../lib/errors.ts";
import { inFolder } from "../fixtures.ts";
import { classesOf, writeTree } from "../picture_files.ts";
import { contents, prepareIn } from "./sets.ts";

/** So that a few pictures take several shards: 4 of them fit one. */
const large = { shardBytes: 4 * 8 * 8 * 3 };

Deno.test("pictures become records, the same with one worker and with three", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, {
      ...classesOf(["a", "b"], 5),
      "a/broken.png": "no picture",
    });
    const { shards, broken, progress, notices } = await prepareIn(folder, {
      ...{ ...large, workers: 1 },
    });
    assertEquals(shards.map(({ first, labels }) => [first, labels]), [
      [0, [0, 0, 0, 0]],
      [4, [0, 0, 1, 1]],
      [8, [1, 1, 1]],
    ]);
    assertEquals([...broken.keys()], ["a/broken.png"]);
    assertEquals(shards[1]!.broken.map(([at, name]) => [at, name]), [[1, "a/broken.png"]]);
    assertEquals([progress[0]!.done, progress.at(-1)!.done, progress[0]!.total], [0, 11, 11]);
    assert(progress.at(-1)!.perSecond > 0 && progress.at(-1)!.secondsLeft === 0);
    assertStringIncludes(
      notices[0]!,
      "1 of 11 pictures cannot be read and are left out, the first",
    );
    const list = await Deno.readTextFile(`${shards[0]!.path.replace(/[^/]+$/, "")}broken.txt`);
    assertEquals(list.split("\t")[0], '"a/broken.png"');
    assertStringIncludes(list, "a/broken.png is text; give a PNG");

    const other = await prepareIn(folder, {
      ...{ ...large, workers: 3, root: `${folder}/again` },
    });
    assertEquals(await contents(other.folder), await contents(`${shards[0]!.path}/..`));
  }));

Deno.test("what is prepared is not prepared again", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, classesOf(["a", "b"], 3));
    const first = await prepareIn(folder);
    const second = await prepareIn(folder);
    assertEquals(second.progress, []);
    assertEquals(second.shards, first.shards);
    const seen: number[] = [];
    await readRecords(second.shards[0]!, (index, pixels) => {
      seen.push(index);
      assertEquals(pixels.length, 8 * 8 * 3);
    });
    assertEquals(seen, [0, 1, 2, 3, 4, 5]);
  }));

const changes: Record<string, (photos: string) => Promise<void>> = {
  "changed": (photos) => Deno.utime(`${photos}/a/0000.png`, 1, 1),
  "added": (photos) => writeTree(photos, { "a/new.png": 77 }),
  "removed": (photos) => Deno.remove(`${photos}/a/0001.png`),
  "put into another class": (photos) => Deno.rename(`${photos}/a/0000.png`, `${photos}/b/x.png`),
};

Deno.test("a file that is changed, added, removed or put into another class is noticed", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, classesOf(["a", "b"], 3));
    const folders = [(await prepareIn(folder)).folder];
    for (const [what, change] of Object.entries(changes)) {
      await change(`${folder}/photos`);
      const { folder: at, progress } = await prepareIn(folder);
      assert(!folders.includes(at), what);
      assert(progress.length > 0, what);
      folders.push(at);
    }
  }));

Deno.test("another size and another fit are prepared beside", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, classesOf(["a", "b"], 2));
    const forms = [{ size: 8, fit: "crop" }, { size: 8, fit: "squash" }, { size: 4, fit: "crop" }];
    const folders = new Set<string>();
    for (const form of forms) {
      folders.add(
        (await prepareIn(folder, { form: form as { size: number; fit: "crop" } })).folder,
      );
    }
    assertEquals(folders.size, 3);
  }));

const damages: Record<string, [says: string, damage: (path: string) => Promise<void>]> = {
  "flipped": ["is damaged", async (path) => {
    const bytes = await Deno.readFile(path);
    bytes[bytes.length - 100]! ^= 1;
    await Deno.writeFile(path, bytes);
  }],
  "cut": ["is cut short", (path) => Deno.truncate(path, 150)],
  "cut to nothing": ["is cut short", (path) => Deno.truncate(path, 0)],
  "of another version": ["is of another version", async (path) => {
    const bytes = await Deno.readFile(path);
    bytes[7]!++;
    await Deno.writeFile(path, bytes);
  }],
  "with a header of nonsense": ["is damaged", async (path) => {
    const bytes = await Deno.readFile(path);
    bytes[12] = 0;
    await Deno.writeFile(path, bytes);
  }],
  "another one's": [
    "is of other pictures",
    (path) => Deno.copyFile(path.replace("000000", "000001"), path),
  ],
};

Deno.test("a shard that is flipped, cut or of another version is made again, and it is said", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, classesOf(["a", "b"], 4));
    const { folder: at } = await prepareIn(folder, large);
    const before = await contents(at);
    const path = shardPath(at, 0);
    for (const [what, [says, damage]] of Object.entries(damages)) {
      await damage(path);
      const { notices, progress } = await prepareIn(folder, large);
      assertEquals(notices, [`${path} ${says}; its pictures are read again.`], what);
      // Those of the other shard are kept.
      assertEquals([progress[0]!.done, progress.at(-1)!.done], [4, 8], what);
      assertEquals(await contents(at), before, what);
    }
  }));

Deno.test("with --on-broken stop a broken picture ends it, then and later", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, { ...classesOf(["a", "b"], 2), "b/x.jpg": "no picture" });
    const says = "b/x.jpg is text; give a PNG";
    const stop = { onBroken: "stop" } as const;
    await assertRejects(() => prepareIn(folder, stop), UserError, says);
    await prepareIn(folder);
    const refusal = await assertRejects(() => prepareIn(folder, stop), UserError, says);
    assertStringIncludes(refusal.message, "mend or remove it, or say --on-broken skip.");
  }));

Deno.test("a picture that the system cannot read ends it, and is not stored as broken", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, classesOf(["a", "b"], 4));
    const set = await imageFolder.open(`${folder}/photos`);
    await Deno.rename(`${folder}/photos/b/0002.png`, `${folder}/away.png`);
    const form = { size: 8, fit: "crop" } as const;
    const root = `${folder}/prepared`;
    const start = () => prepare(set, { ...large, root, form, workers: 1 });
    await assertRejects(start, UserError, "b/0002.png: there is no such file or folder");
    await Deno.rename(`${folder}/away.png`, `${folder}/photos/b/0002.png`);
    const { broken, shards } = await start();
    assertEquals([broken.size, shards.flatMap(({ labels }) => labels).length], [0, 8]);
  }));

Deno.test("a place for what is prepared that is a file is refused in a sentence", () =>
  inFolder(async (folder) => {
    await writeTree(folder, { ...classesOf(["a", "b"], 1, "photos/"), "file": "x" });
    await assertRejects(
      () => prepareIn(folder, { root: `${folder}/file` }),
      UserError,
      "a part of the path is a file, not a folder",
    );
    assertEquals(await Deno.readTextFile(`${folder}/file`), "x");
  }));

Deno.test("a picture of 60,000 x 60,000 is broken, and costs no memory", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, classesOf(["a", "b"], 1));
    const path = `${folder}/photos/a/0000.png`;
    const bytes = await Deno.readFile(path);
    // The header's width and height, and its checksum.
    const { crc32 } = await import("node:zlib");
    const view = new DataView(bytes.buffer);
    view.setUint32(16, 60_000);
    view.setUint32(20, 60_000);
    view.setUint32(29, crc32(bytes.subarray(12, 29)));
    await Deno.writeFile(path, bytes);
    const { broken } = await prepareIn(folder);
    assertStringIncludes(broken.get("a/0000.png")!, "60000x60000 pixels");
  }));

Deno.test("two at a time wait for each other and do the work once", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, classesOf(["a", "b"], 3));
    const both = await Promise.all([prepareIn(folder), prepareIn(folder)]);
    assertEquals(both[0].shards, both[1].shards);
    assertEquals(both.filter(({ progress }) => progress.length > 0).length, 1);
  }));
