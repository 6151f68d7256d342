import { assertEquals, assertRejects } from "@std/assert";
import {
  createRunFolder,
  latestRun,
  openRunFolder,
  removeUnusedRun,
  runFolder,
  startRun,
} from "../../lib/checkpoint/run_folder.ts";
import {
  appendHistory,
  type HistoryLine,
  readHistory,
  rewindHistory,
} from "../../lib/checkpoint/history.ts";
import { preset } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder, names } from "./folder.ts";

const epochLine = (epoch: number): HistoryLine => ({
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
    for (const epoch of [1, 2, 3]) await appendHistory(history, epochLine(epoch));
    assertEquals(await readHistory(history), [epochLine(1), epochLine(2), epochLine(3)]);
    assertEquals((await Deno.readTextFile(history)).split("\n").length, 4);
  }));

Deno.test("half a last line is left out when reading and cut off when appending", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    const line = JSON.stringify(epochLine(2));
    for (const half of [line.slice(0, 20), line.slice(0, -1), line, "\u00fc"]) {
      await Deno.writeTextFile(history, JSON.stringify(epochLine(1)) + "\n" + half);
      assertEquals(await readHistory(history), [epochLine(1)]);
      await appendHistory(history, epochLine(2));
      assertEquals(await readHistory(history), [epochLine(1), epochLine(2)]);
    }
    await Deno.writeTextFile(history, line.slice(0, 5));
    await appendHistory(history, epochLine(1));
    assertEquals(await readHistory(history), [epochLine(1)]);
  }));

Deno.test("a wrong line that is not the last half is named", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    const good = JSON.stringify(epochLine(1)) + "\n";
    for (const bad of ["{", "[]", "{}", '{"epoch":"1"}', ""]) {
      await Deno.writeTextFile(history, good + bad + "\n");
      await assertRejects(() => readHistory(history), UserError, "Line 2 of");
    }
  }));

Deno.test("NaN is written as null, and fields of others are kept", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    await appendHistory(history, { ...epochLine(1), loss: NaN, note: "x" });
    assertEquals(await readHistory(history), [{ ...epochLine(1), loss: null, note: "x" }]);
  }));

Deno.test("rewinding drops the epochs that will be trained again", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    await rewindHistory(history, 2);
    assertEquals(await names(folder), []);
    for (const epoch of [1, 2, 3]) await appendHistory(history, epochLine(epoch));
    await rewindHistory(history, 2);
    assertEquals(await readHistory(history), [epochLine(1), epochLine(2)]);
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

Deno.test("a history has each epoch once and in order", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    const write = (...epochs: number[]) =>
      Deno.writeTextFile(
        history,
        epochs.map((at) => JSON.stringify(epochLine(at)) + "\n").join(""),
      );
    await write(1, 2, 4);
    assertEquals((await readHistory(history)).map(({ epoch }) => epoch), [1, 2, 4]);
    await write(1, 2, 2);
    await assertRejects(() => readHistory(history), UserError, "Line 3 of");
    await write(2, 1);
    await assertRejects(
      () => readHistory(history),
      UserError,
      "is of epoch 1, after a line of epoch 2",
    );
  }));

Deno.test("what a failed append has left of an epoch is written anew", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    for (const epoch of [1, 2, 3, 3, 2]) await appendHistory(history, epochLine(epoch));
    assertEquals(await readHistory(history), [epochLine(1), epochLine(2)]);
    await appendHistory(history, epochLine(1));
    assertEquals(await readHistory(history), [epochLine(1)]);
  }));

/** What must not be where a run has a file, and how the refusal names it. */
const impostors: Record<string, [(path: string, victim: string) => Promise<void>, kind: string]> = {
  "a link to a file": [(path, victim) => Deno.symlink(victim, path), "a link"],
  "a link to nothing": [(path, victim) => Deno.symlink(`${victim}.none`, path), "a link"],
  "a folder": [(path) => Deno.mkdir(path), "a folder"],
  ...(Deno.build.os !== "windows" && {
    "a link to a device": [(path: string) => Deno.symlink("/dev/zero", path), "a link"],
  }),
};
for (const [what, [make, kind]] of Object.entries(impostors)) {
  Deno.test(`a run is refused that has ${what} for one of its files`, () =>
    inFolder(async (folder) => {
      const victim = `${folder}/victim`;
      await Deno.writeTextFile(victim, "mine");
      const files = [
        ...["config.json", "origin.json", "lock.json", "history.jsonl", "best.safetensors"],
        ...["last.safetensors", "step-00000012.safetensors"],
      ];
      for (const [index, file] of files.entries()) {
        const { path } = await createRunFolder(`${folder}/${index}`, preset("tiny"));
        await Deno.remove(`${path}/${file}`).catch(() => {});
        await make(`${path}/${file}`, victim);
        const says = `${path}/${file} is ${kind}, and the files of a run are regular files`;
        await assertRejects(() => openRunFolder(path), UserError, says);
      }
      assertEquals(await Deno.readTextFile(victim), "mine");
    }));
}

Deno.test("a history is neither appended to nor rewound through a link", () =>
  inFolder(async (folder) => {
    const { history } = runFolder(folder);
    const victim = `${folder}/victim`;
    const line = JSON.stringify(epochLine(1)) + "\nhalf";
    await Deno.writeTextFile(victim, line);
    for (const make of [Deno.symlink, Deno.link]) {
      await make(victim, history);
      await assertRejects(() => appendHistory(history, epochLine(2)), UserError, history);
      await rewindHistory(history, 0);
      assertEquals(await Deno.readTextFile(victim), line);
      await Deno.remove(history);
    }
  }));

Deno.test("a run folder may itself be a link", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/elsewhere`);
    await Deno.symlink(`${folder}/elsewhere`, `${folder}/run`);
    const run = await createRunFolder(`${folder}/run`, preset("tiny"));
    await appendHistory(run.history, epochLine(1));
    assertEquals((await openRunFolder(run.path)).config, preset("tiny"));
    assertEquals(await names(`${folder}/elsewhere`), ["config.json", "history.jsonl"]);
  }));

Deno.test("what a kill leaves before a run has begun hinders no new one, and is told", () =>
  inFolder(async (folder) => {
    const path = `${folder}/run`;
    const left = [".config.json.tmp-12-0", "lock.json", "origin.json"];
    for (let count = 1; count <= left.length; count++) {
      await Deno.mkdir(path);
      for (const name of left.slice(0, count)) await Deno.writeTextFile(`${path}/${name}`, "{");
      await assertRejects(
        () => openRunFolder(path),
        UserError,
        `${path} holds no run: the one that was to be made there ended before it had begun; ` +
          `start it with --out ${path}.`,
      );
      await createRunFolder(path, preset("tiny"));
      assertEquals(await names(path), ["config.json"]);
      await Deno.remove(path, { recursive: true });
    }
    // But nothing of anybody else.
    await Deno.mkdir(path);
    for (const name of ["notes.txt", ".hidden", ".a.tmp", "last.safetensors"]) {
      await Deno.writeTextFile(`${path}/${name}`, "mine");
      await assertRejects(() => createRunFolder(path, preset("tiny")), UserError, "not empty");
      await Deno.remove(`${path}/${name}`);
    }
  }));

Deno.test("a new run is locked from the beginning, and its folder free when it has failed", () =>
  inFolder(async (folder) => {
    const path = `${folder}/run`;
    const { run, lock } = await startRun(path, preset("tiny"), "weights.safetensors");
    assertEquals(await names(path), ["config.json", "lock.json", "origin.json"]);
    await assertRejects(() => startRun(path, preset("tiny")), UserError, "not empty");
    await removeUnusedRun(run);
    assertEquals(await names(path), ["config.json", "lock.json", "origin.json"], "it is locked");
    await lock.release();
    await removeUnusedRun(run);
    assertEquals(await names(folder), []);
    await removeUnusedRun(run);
    // One that has saved something stays.
    await createRunFolder(path, preset("tiny"));
    await appendHistory(run.history, epochLine(1));
    await removeUnusedRun(run);
    assertEquals(await names(path), ["config.json", "history.jsonl"]);
  }));

Deno.test("two processes that make a run in one folder at once make one", () =>
  inFolder(async (folder) => {
    const made = await Promise.allSettled(
      Array.from({ length: 4 }, () => startRun(`${folder}/run`, preset("tiny"))),
    );
    const good = made.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
    assertEquals(good.length, 1);
    await good[0]!.lock.release();
    assertEquals(await names(`${folder}/run`), ["config.json"]);
  }));

Deno.test("names that no folder can have are refused in a sentence", () =>
  inFolder(async (folder) => {
    const deep = `${folder}/${"x/".repeat(2200)}`;
    for (const path of ["", `${folder}/${"x".repeat(300)}`, deep, `${folder}/a\0b`]) {
      for (
        const use of [openRunFolder, (at: string) => createRunFolder(at, preset("tiny"))]
      ) {
        const { message } = await assertRejects(() => use(path) as Promise<unknown>, UserError);
        assertEquals(message.length < 600, true, message);
      }
    }
    assertEquals(await names(folder), []);
  }));
