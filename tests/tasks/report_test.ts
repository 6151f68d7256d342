/** `report` and what `train` leaves for it. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { readTestResults } from "../../lib/checkpoint/test_results.ts";
import { runFolder } from "../../lib/checkpoint/run_folder.ts";
import { inFolder } from "../data/fixtures.ts";
import {
  assertRefused,
  contentsOf,
  exists,
  jsonLines,
  projectRoot,
  reportedRun,
  runTask,
  runTaskWell,
} from "./run_task.ts";

const pictures = [
  ...["accuracy.svg", "attention.svg", "confusion.svg", "filters.svg", "learning_rate.svg"],
  ...["loss.svg", "positions.png", "surprising.svg", "top5.svg", "wrong.svg"],
];

let folder: string;
let run: string;
let end: { test: { loss: number; accuracy: number; top5: number }; report: string | null };

Deno.test.beforeAll(async () => {
  folder = await Deno.makeTempDir();
  run = `${folder}/run`;
  const stdout = await runTaskWell("train", [...reportedRun, "--out", run, "--json"]);
  end = jsonLines(stdout).at(-1);
});

Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

Deno.test("train leaves a report, its pictures and what the test found", async () => {
  assertEquals(end.report, `${run}/report.html`);
  const names = Object.keys(await contentsOf(`${run}/report`));
  // Of sixty images a model after two steps may have recognized none.
  assertEquals(names.filter((name) => name !== "right.svg"), pictures);
  const results = (await readTestResults(runFolder(run)))!;
  assertEquals(results.guesses.length, 60);
  assertEquals([results.accuracy, results.top5], [end.test.accuracy, end.test.top5]);
  assert(!/<script/.test(await Deno.readTextFile(`${run}/report.html`)));
});

Deno.test("report takes the results of the run, and tests where there are none", () =>
  inFolder(async (other) => {
    const page = async (from: string) => {
      const out = `${other}/page`;
      const stdout = await runTaskWell("report", [from, "--out", out, "--backend", "wasm"]);
      assertStringIncludes(stdout, `Report: ${out}/report.html`);
      return await Deno.readTextFile(`${out}/report.html`);
    };
    const known = await page(run);
    const copy = `${other}/run`;
    await Deno.mkdir(copy);
    for (const name of ["config.json", "history.jsonl", "best.safetensors"]) {
      await Deno.copyFile(`${run}/${name}`, `${copy}/${name}`);
    }
    assertEquals(await page(copy), known);
    assert(await exists(`${other}/page/report/loss.svg`));
  }));

Deno.test("a run that has saved nothing yet has a page that says so", () =>
  inFolder(async (other) => {
    await Deno.copyFile(`${run}/config.json`, `${other}/config.json`);
    await runTaskWell("report", [other, "--backend", "cpu"]);
    assertStringIncludes(
      await Deno.readTextFile(`${other}/report.html`),
      "No weights are saved yet",
    );
  }));

Deno.test("a folder that is no run, or whose history is damaged, is refused", () =>
  inFolder(async (other) => {
    const report = (path: string) => runTask("report", [path, "--backend", "cpu"]);
    assertRefused(await report(other), other, "not the folder of a run");
    await Deno.copyFile(`${run}/config.json`, `${other}/config.json`);
    await Deno.writeTextFile(`${other}/history.jsonl`, "nonsense\n");
    assertRefused(await report(other), "Line 1", "history.jsonl");
    assert(!await exists(`${other}/report.html`));
  }));

Deno.test("half a last line of the history is left out, and damaged results are named", () =>
  inFolder(async (other) => {
    for (const name of ["config.json", "best.safetensors", "test.json"]) {
      await Deno.copyFile(`${run}/${name}`, `${other}/${name}`);
    }
    const history = await Deno.readTextFile(`${run}/history.jsonl`);
    await Deno.writeTextFile(`${other}/history.jsonl`, `${history}{"epoch":2,"st`);
    const args = [other, "--backend", "wasm"];
    await runTaskWell("report", args);
    await Deno.writeTextFile(`${other}/test.json`, "{");
    assertRefused(await runTask("report", args), "test.json is damaged");
  }));

Deno.test("a run of release 0.1.0 has a report", () =>
  inFolder(async (other) => {
    const released = `${projectRoot}tests/released/0.1.0`;
    await runTaskWell("report", [released, "--out", other, "--backend", "wasm"]);
    assertStringIncludes(await Deno.readTextFile(`${other}/report.html`), "Position embedding");
  }));

Deno.test("report refuses what is no number of images", async () => {
  assertRefused(await runTask("report", [run, "--limit", "many"]), "--limit", "many");
});
