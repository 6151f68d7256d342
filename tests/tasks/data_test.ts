import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { cifarEntries, inFolder, listing, tarGz } from "../data/fixtures.ts";
import { assertRefused, jsonLines, runTask, runTaskWell } from "./run_task.ts";

/** Gives the test an archive of few records and an empty folder for the data. */
function withArchive(test: (archive: string, root: string) => Promise<void>): Promise<void> {
  return inFolder(async (folder) => {
    const archive = `${folder}/few.tar.gz`;
    await Deno.writeFile(archive, await tarGz(cifarEntries("cifar10")));
    await Deno.mkdir(`${folder}/data`);
    await test(archive, `${folder}/data`);
  });
}

const cifar10 = ["--dataset", "cifar10"];

Deno.test("data unpacks an archive and says what it holds", () =>
  withArchive(async (archive, root) => {
    const args = [...cifar10, "--data", archive, "--md5", "none", "--root", root];
    const stdout = await runTaskWell("data", args);
    assertStringIncludes(stdout, "15 train and 2 test records of 32x32x3, 10 classes");
    assertEquals((await listing(root)).length, 1);
  }));

Deno.test("data refuses an archive of another checksum, and keeps it", () =>
  withArchive(async (archive, root) => {
    const before = await Deno.readFile(archive);
    const result = await runTask("data", [...cifar10, "--data", archive, "--root", root]);
    assertRefused(result, archive, "c32a1d4ab5d03f1284b67883e8d87530");
    assertEquals(await Deno.readFile(archive), before);
    assertEquals(await listing(root), []);
  }));

Deno.test("data refuses an archive cut short, and leaves nothing of it", () =>
  withArchive(async (archive, root) => {
    const { size } = await Deno.stat(archive);
    await Deno.truncate(archive, size >> 1);
    const args = [...cifar10, "--data", archive, "--md5", "none", "--root", root];
    assertRefused(await runTask("data", args), archive, "cut short");
    assertEquals(await listing(root), []);
  }));

Deno.test("data refuses a data set that it does not know", async () => {
  assertRefused(await runTask("data", ["--dataset", "cifar1000"]), "cifar1000", "cifar100");
});

Deno.test("data --json says what it holds in one object", async () => {
  const [object, ...rest] = jsonLines(
    await runTaskWell("data", ["--dataset", "shapes", "--json"]),
  );
  const { name, train, test, height, width, channels, classNames, identity } = object;
  assertEquals([name, train, test, height, width, channels], ["shapes", 10_000, 1000, 32, 32, 3]);
  assertEquals([classNames.length, classNames[0], rest], [100, "red circle", []]);
  assertMatch(identity, /^[0-9a-f]{64}$/);
});
