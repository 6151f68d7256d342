import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { loadState } from "../../lib/checkpoint/state.ts";
import { UserError } from "../../lib/errors.ts";
import { deviceDataBytes } from "../../tasks/data_options.ts";
import { inFolder } from "../data/fixtures.ts";
import { classesOf, writeTree } from "../data/picture_files.ts";
import { assertRefused, exists, jsonLines, runTask, runTaskWell, smallRun } from "./run_task.ts";

const parquetFile = new URL("../data/photos.parquet", import.meta.url);

const small = [...smallRun, "--limit", "0", "--epochs", "2", "--stored-size", "32"];

Deno.test("a folder of photographs becomes a trained model, which is evaluated and predicts", () =>
  inFolder(async (folder) => {
    const photos = `${folder}/photos`;
    await writeTree(photos, { ...classesOf(["1", "10", "2"], 20), "10/broken.jpg": "nothing" });
    const run = `${folder}/run`;
    const args = [...small, "--dataset", `folder:${photos}`, "--out", run];
    const stdout = await runTaskWell("train", args);
    assertStringIncludes(
      stdout,
      "folder:photos: 48 train, 6 validation and 6 test pictures; 16 of",
    );
    assertStringIncludes(stdout, "3 classes: 0 = 1, 1 = 10, 2 = 2.");
    assertStringIncludes(stdout, "1 of 61 pictures cannot be read and are left out");
    const config = JSON.parse(await Deno.readTextFile(`${run}/config.json`));
    assertEquals([config.numClasses, config.dataset], [3, `folder:${photos}`]);
    const state = await loadState(`${run}/last.safetensors`);
    assertEquals(state.classNames, ["1", "10", "2"]);
    assertEquals(state.preprocessing.fit, "crop");
    assertEquals([state.dataset.trainCount, state.dataset.validationCount], [48, 6]);

    // Moved, with its times, as `cp -a` and `mv` do it; prepared anew, and the same records.
    await Deno.rename(photos, `${folder}/elsewhere`);
    await Deno.mkdir(`${folder}/at`);
    await Deno.rename(`${folder}/elsewhere`, `${folder}/at/photos`);
    const there = ["--data", `${folder}/at/photos`];
    const [result] = jsonLines(
      await runTaskWell("eval", [run, ...there, "--backend", "wasm", "--json"]),
    );
    assert(result.loss > 0 && result.classes.length === 3);
    const read = [...there, "--device-data", "10KB"];
    const resumed = await runTaskWell("train", ["--resume", run, "--epochs", "3", ...read]);
    assertStringIncludes(resumed, "The images are read batch by batch from data/prepared/photos-");
    assertStringIncludes(resumed, "Epoch 3/3");

    const top = await runTaskWell("predict", [run, `${folder}/at/photos/2/0003.png`]);
    assertStringIncludes(top, "0003.png");

    // Another picture is another data set.
    await writeTree(`${folder}/at/photos`, { "1/new.png": 99 });
    const other = await runTask("train", ["--resume", run, "--epochs", "4", ...there]);
    assertRefused(other, "trained on other data", "48 train records");
  }));

Deno.test("what is wrong with pictures is a sentence of the task", () =>
  inFolder(async (folder) => {
    const train = (dataset: string, ...more: string[]) =>
      runTask("train", [...small, "--dataset", dataset, "--out", `${folder}/run`, ...more]);
    assertRefused(await train(`folder:${folder}/nowhere`), "nowhere does not exist");
    await writeTree(folder, { "one/a/1.png": 1, "broken/a/1.png": 1, "broken/b/1.png": "no" });
    assertRefused(
      await train(`folder:${folder}/one`),
      'one has only one class, "a"; a classifier needs two',
    );
    assertRefused(
      await train(`folder:${folder}/broken`),
      'None of the 1 pictures of the class "b" can be read',
      "b/1.png is text",
    );
    await writeTree(folder, { "broken/b/2.png": 2 });
    assertRefused(
      await train(`folder:${folder}/broken`, "--on-broken", "stop"),
      "b/1.png is text",
      "or say --on-broken skip",
    );
    assertRefused(await train(`folder:${folder}/broken`, "--on-broken", "x"), "--on-broken", '"x"');
  }));

Deno.test("paths that hold no pictures in classes, and Parquet files of no use, are sentences", () =>
  inFolder(async (folder) => {
    const bytes = await Deno.readFile(parquetFile);
    const other = bytes.slice();
    // The schema at the file's end has no column of bytes any more.
    const text = new TextDecoder("latin1").decode(bytes);
    for (const { index } of text.matchAll(/bytes/g)) other[index] = "x".charCodeAt(0);
    await writeTree(folder, {
      ...{ "loose/1.png": 1, "loose/2.png": 2, "cut.parquet": bytes.slice(0, -100) },
      ...{ "other.parquet": other, "text.parquet": "PAR1" },
    });
    const refused: [dataset: string, ...says: string[]][] = [
      [`folder:${folder}/loose`, "has 2 pictures but no class folders"],
      [`folder:${folder}/loose/1.png`, "is a file; name a folder"],
      [`parquet:${folder}/nowhere`, "does not exist"],
      [`parquet:${folder}/cut.parquet`, "cut.parquet cannot be read", "so fetch it again"],
      [`parquet:${folder}/text.parquet`, "text.parquet cannot be read"],
      [`parquet:${folder}/other.parquet`, "is of another schema", "none named image"],
    ];
    await Promise.all(refused.map(async ([dataset, ...says]) => {
      const out = `${folder}/run`;
      assertRefused(
        await runTask("train", [...small, "--dataset", dataset, "--out", out]),
        ...says,
      );
    }));
    assert(!await exists(`${folder}/run`), "a run folder was left behind");
  }));

Deno.test("prepared pictures that were damaged are prepared again, and it is said", () =>
  inFolder(async (folder) => {
    await writeTree(`${folder}/photos`, classesOf(["a", "b"], 3));
    const args = ["--dataset", `folder:${folder}/photos`, "--root", `${folder}/data`];
    const first = await runTaskWell("data", args);
    const root = `${folder}/data/prepared`;
    const [{ name }] = await Array.fromAsync(Deno.readDir(root)) as [Deno.DirEntry];
    const shard = `${root}/${name}/000000.shard`;
    const whole = await Deno.readFile(shard);
    await Deno.writeFile(shard, whole.map((byte, i) => i === whole.length - 50 ? byte ^ 1 : byte));
    const again = await runTaskWell("data", args);
    assertStringIncludes(again, `${shard} is damaged; its pictures are read again.`);
    assertEquals(await Deno.readFile(shard), whole);
    // The checksum of the records is the last word of both.
    assertEquals(again.trimEnd().split(" ").at(-1), first.trimEnd().split(" ").at(-1));
  }));

Deno.test("--device-data is bytes or auto", () => {
  const wanted = { "0": 0, "1200": 1200, "1.5KB": 1500, "500MB": 5e8, "2G": 2e9, "3B": 3 };
  for (const [text, bytes] of Object.entries(wanted)) assertEquals(deviceDataBytes(text), bytes);
  assertEquals(deviceDataBytes("auto"), 2e9);
  for (const text of ["", "-1", "2 GB", "GB", "1e9", "many", "1.2345GB"]) {
    assertThrows(() => deviceDataBytes(text), UserError, `--device-data cannot be "${text}"`);
  }
});
