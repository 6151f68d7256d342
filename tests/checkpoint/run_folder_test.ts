import { assertEquals, assertRejects } from "@std/assert";
import {
  appendHistory,
  createRunFolder,
  type HistoryRecord,
  latestRun,
  openRunFolder,
  readHistory,
  rewindHistory,
  runFolder,
} from "../../lib/checkpoint/run_folder.ts";
import { preset } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder, names } from "./folder.ts";

const record = (epoch: number): HistoryRecord => ({
  epoch,
  step: 176 * epoch,
  loss: 4 / epoch,
  accuracy: 0.1 * epoch,
  top5: 0.3,
  valLoss: null,
  valAccuracy: 0.25,
  valTop5: 0.5,
});

Deno.test("a run's folder is made with its parents and opened again", () =>
  inFolder(async (folder) => {
    const config = { ...preset("tiny"), seed: 7 };
    const made = await createRunFolder(`${folder}/runs/first/`, config);
    assertEquals(made.path, `${folder}/runs/first`);
    assertEquals(await names(made.path), ["config.json"]);
    assertEquals(await openRunFolder(`${folder}/runs/first`), { run: made, config });
    assertEquals(made.last, `${folder}/runs/first/last.safetensors`);
  }));

Deno.test("a run folder that exists is refused and stays as it was", () =>
  inFolder(async (folder) => {
    await createRunFolder(`${folder}/run`, preset("tiny"));
    const again = () => createRunFolder(`${folder}/run`, preset("keras-cifar100"));
    await assertRejects(again, UserError, "exists and is not empty");
    assertEquals((await openRunFolder(`${folder}/run`)).config, preset("tiny"));
  }));

Deno.test("an empty folder may become a run, a file may not", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/empty`);
    await createRunFolder(`${folder}/empty`, preset("tiny"));
    await Deno.writeTextFile(`${folder}/file`, "");
    for (const path of [`${folder}/file`, `${folder}/file/run`]) {
      await assertRejects(() => createRunFolder(path, preset("tiny")), UserError, path);
    }
  }));

Deno.test("what is no run, or has a broken config.json, is refused", () =>
  inFolder(async (folder) => {
    await assertRejects(() => openRunFolder(`${folder}/none`), UserError, "no config.json");
    await assertRejects(() => openRunFolder(folder), UserError, "no config.json");
    await Deno.writeTextFile(`${folder}/config.json`, '{"imageSize": 3');
    await assertRejects(() => openRunFolder(folder), UserError, "not valid JSON");
    await Deno.writeTextFile(`${folder}/config.json`, '{"imageSize": 3}');
    await assertRejects(() => openRunFolder(folder), UserError, "config.json cannot be used");
  }));

Deno.test("history lines are appended and read back", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    assertEquals(await readHistory(history), []);
    for (const epoch of [1, 2, 3]) await appendHistory(history, record(epoch));
    assertEquals(await readHistory(history), [record(1), record(2), record(3)]);
    assertEquals((await Deno.readTextFile(history)).split("\n").length, 4);
  }));

Deno.test("half a last line is left out when reading and cut off when appending", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    const line = JSON.stringify(record(2));
    for (const half of [line.slice(0, 20), line.slice(0, -1), line, "\u00fc"]) {
      await Deno.writeTextFile(history, JSON.stringify(record(1)) + "\n" + half);
      assertEquals(await readHistory(history), [record(1)]);
      await appendHistory(history, record(2));
      assertEquals(await readHistory(history), [record(1), record(2)]);
    }
    await Deno.writeTextFile(history, line.slice(0, 5));
    await appendHistory(history, record(1));
    assertEquals(await readHistory(history), [record(1)]);
  }));

Deno.test("a wrong line that is not the last half is named", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    const good = JSON.stringify(record(1)) + "\n";
    for (const bad of ["{", "[]", "{}", '{"epoch":"1"}', ""]) {
      await Deno.writeTextFile(history, good + bad + "\n" + good);
      await assertRejects(() => readHistory(history), UserError, "Line 2 of");
    }
  }));

Deno.test("NaN is written as null, and fields of others are kept", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    await appendHistory(history, { ...record(1), loss: NaN, note: "x" });
    assertEquals(await readHistory(history), [{ ...record(1), loss: null, note: "x" }]);
  }));

Deno.test("rewinding drops the epochs that will be trained again", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    await rewindHistory(history, 2);
    assertEquals(await names(folder), []);
    for (const epoch of [1, 2, 3]) await appendHistory(history, record(epoch));
    await rewindHistory(history, 2);
    assertEquals(await readHistory(history), [record(1), record(2)]);
    await rewindHistory(history, 0);
    assertEquals(await readHistory(history), []);
  }));

Deno.test("the latest run is the one whose files changed last", () =>
  inFolder(async (folder) => {
    assertEquals(await latestRun(`${folder}/none`), undefined);
    assertEquals(await latestRun(folder), undefined);
    for (const [name, time] of [["a", 30], ["b", 10], ["c", 20]] as const) {
      const run = await createRunFolder(`${folder}/${name}`, preset("tiny"));
      await Deno.utime(run.config, time, time);
    }
    await Deno.mkdir(`${folder}/no_run`);
    assertEquals(await latestRun(folder), `${folder}/a`);
    const { last } = runFolder(`${folder}/b`);
    await Deno.writeTextFile(last, "");
    assertEquals(await latestRun(folder), `${folder}/b`);
    await Deno.utime(last, 30, 30);
    assertEquals(await latestRun(folder), `${folder}/b`, "names decide between equal times");
  }));
