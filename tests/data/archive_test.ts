import { assertEquals, assertRejects } from "@std/assert";
import { unpack } from "../../lib/data/archive.ts";
import { UserError } from "../../lib/errors.ts";
import { type Entry, gzip, inFolder, listing, tarGz } from "./fixtures.ts";

const noise = crypto.getRandomValues(new Uint8Array(60_000));
const good: Entry[] = [
  { name: "set/", type: "directory" },
  { name: "set/a.bin", body: noise },
  { name: "set/b.txt", body: "b" },
];
const files = ["a.bin", "b.txt"];

/** Unpacks the bytes in an empty folder and checks that a refusal leaves nothing behind. */
function refuses(name: string, message: string, make: () => Promise<Uint8Array>, maxBytes = 1e6) {
  Deno.test(name, () =>
    inFolder(async (folder) => {
      const archive = `${folder}/x.tar.gz`;
      await Deno.writeFile(archive, await make());
      await assertRejects(
        () => unpack(archive, { files, parent: folder, maxBytes }),
        UserError,
        message,
      );
      assertEquals(await listing(folder), ["x.tar.gz"]);
    }));
}

Deno.test("the known files are written flat, others are skipped", () =>
  inFolder(async (folder) => {
    const archive = `${folder}/x.tar.gz`;
    const extra = { name: "set/run.sh", body: "exit 1" };
    await Deno.writeFile(archive, await tarGz([extra, ...good, extra]));
    const progress: number[] = [];
    const unpacked = await unpack(archive, {
      files,
      parent: folder,
      maxBytes: 1e6,
      onProgress: (done) => progress.push(done),
    });
    assertEquals(await listing(unpacked), files);
    assertEquals(await Deno.readFile(`${unpacked}/a.bin`), noise);
    assertEquals(progress.at(-1), (await Deno.stat(archive)).size);
  }));

refuses(
  "an entry that climbs is refused",
  "climbs out",
  () => tarGz([...good, { name: "set/../../evil.txt", body: "x" }]),
);
refuses(
  "a known name does not excuse a climbing entry",
  "climbs out",
  () => tarGz([{ name: "../a.bin", body: "x" }, ...good]),
);
refuses(
  "an absolute entry is refused",
  "an absolute path",
  () => tarGz([...good, { name: "/tmp/evil.txt", body: "x" }]),
);
refuses(
  "an entry on a drive is refused",
  "an absolute path",
  () => tarGz([...good, { name: "C:\\evil.txt", body: "x" }]),
);
refuses(
  "a symbolic link is refused",
  "which is a symlink",
  () => tarGz([{ name: "set/a.bin", type: "symlink" }, ...good]),
);
refuses(
  "a hard link is refused",
  "which is a link",
  () => tarGz([{ name: "set/a.bin", type: "link" }, ...good]),
);
refuses(
  "a device is refused",
  "which is a character device",
  () => tarGz([{ name: "set/null", type: "character-device" }, ...good]),
);
refuses(
  "a file that comes twice is refused",
  "holds a.bin twice",
  () => tarGz([...good, { name: "other/a.bin", body: "x" }]),
);
refuses("a missing file is named", "lacks b.txt", () => tarGz(good.slice(0, 2)));
refuses(
  "an archive that unpacks to too much is refused",
  "more than 50000 bytes",
  () => tarGz(good),
  50_000,
);
refuses(
  "gzip that is cut short is refused",
  "is cut short",
  async () => (await tarGz(good)).slice(0, 30_000),
);
refuses("tar that is cut short within a file is refused", "is cut short", async () => {
  const tar = await ungzip(await tarGz(good));
  return gzip(tar.slice(0, 30_000));
});
refuses("tar that is cut short between files is refused", "is cut short", async () => {
  const tar = await ungzip(await tarGz(good));
  return gzip(tar.slice(0, -1024));
});
refuses("damaged bytes are refused", "cut short or damaged", async () => {
  const bytes = await tarGz(good);
  return bytes.with(30_000, bytes[30_000]! ^ 255);
});
refuses(
  "what is no archive is refused",
  "is not a .tar.gz archive",
  () => Promise.resolve(new TextEncoder().encode("<html>")),
);

async function ungzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return await new Response(stream).bytes();
}
