/** `eval` and `predict` on one small run, and on what is wrong with copies of it. */
import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { loadWeights, saveWeights } from "../../lib/checkpoint/state.ts";
import { encodePng } from "../../lib/report/encode_png.ts";
import { inFolder } from "../data/fixtures.ts";
import {
  assertRefused,
  contentsOf,
  jsonLines,
  projectRoot,
  runTask,
  runTaskWell,
  smallRun,
} from "./run_task.ts";

const onWasm = ["--backend", "wasm"];
let folder: string;
let run: string;
/** What training itself said of the test images. */
let reported: { loss: number; accuracy: number; top5: number };

Deno.test.beforeAll(async () => {
  folder = await Deno.makeTempDir();
  run = `${folder}/run`;
  const stdout = await runTaskWell("train", [...smallRun, "--out", run, "--json"]);
  reported = jsonLines(stdout).at(-1).test;
});

Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

/** Gives the test a copy of the run to spoil. */
function withCopy(test: (copy: string) => Promise<void>): Promise<void> {
  return inFolder(async (copy) => {
    for (const [name, bytes] of Object.entries(await contentsOf(run))) {
      await Deno.writeFile(`${copy}/${name}`, bytes);
    }
    await test(copy);
  });
}

Deno.test("eval --json repeats what training reported, and adds up by class", async () => {
  const [report, ...rest] = jsonLines(await runTaskWell("eval", [run, "--json", ...onWasm]));
  assertEquals(rest, []);
  for (const key of ["loss", "accuracy", "top5"] as const) {
    assertAlmostEquals(report[key], reported[key], 1e-4);
  }
  assertEquals([report.weights, report.split, report.step], ["best", "test", 2]);
  assertEquals(report.classes.length, 100);
  let images = 0;
  let hits = 0;
  for (const { count, top5 } of report.classes) {
    images += count;
    if (count > 0) hits += count * top5;
  }
  assertEquals(images, 60);
  assertAlmostEquals(hits / images, report.top5, 1e-6);
});

Deno.test("eval prints loss, top-1, top-5 and a table of the classes", async () => {
  const args = [run, "--split", "train", "--weights", "last", "--limit", "20", ...onWasm];
  const stdout = await runTaskWell("eval", args);
  assertStringIncludes(stdout, "last.safetensors, step 2, 20 train images");
  assert(
    /^train: loss \d+\.\d{4} {2}top-1 \d+\.\d\d % {2}top-5 \d+\.\d\d %$/m.test(stdout),
    stdout,
  );
  assert(/^\| class +\| images \| +top-1 \| +top-5 \|$/m.test(stdout), stdout);
  assert(/^\| black circle +\| +\d+ \|/m.test(stdout), stdout);
});

Deno.test("predict prints the five likeliest classes of each image", async () => {
  const image = `${folder}/wide.png`;
  const data = Uint8Array.from({ length: 50 * 30 * 3 }, (_, i) => (i * 37) % 256);
  await Deno.writeFile(image, encodePng({ width: 50, height: 30, channels: 3, data }));

  const lines = (await runTaskWell("predict", [run, image, image, ...onWasm])).trimEnd().split(
    "\n",
  );
  assertEquals(lines.length, 12);
  assertEquals([lines[0], lines[6]], [image, image]);
  for (const line of lines.slice(1, 6)) assert(/^ +\d+\.\d\d % {2}\w+ \w+$/.test(line), line);

  const [object] = jsonLines(await runTaskWell("predict", [run, image, "--json", ...onWasm]));
  assertEquals(object.image, image);
  const values: number[] = object.predictions.map((p: { probability: number }) => p.probability);
  assertEquals(values.length, 5);
  assertEquals(values, values.toSorted((a, b) => b - a));
  assert(values.every((value) => value > 0 && value < 1), `${values}`);
});

Deno.test("predict names files that are no images, and classifies the others", async () => {
  const poem = `${folder}/poem.png`;
  await Deno.writeTextFile(poem, "a rose is a rose");
  const dot = `${folder}/dot.png`;
  await Deno.writeFile(
    dot,
    encodePng({ width: 1, height: 1, channels: 3, data: new Uint8Array(3) }),
  );
  const none = `${folder}/none.png`;
  const { code, stdout, stderr } = await runTask("predict", [run, dot, poem, none, dot, ...onWasm]);
  assertEquals(code, 2);
  assertEquals(stdout.split("\n").filter((line) => !line.startsWith(" ")), [dot, dot, ""]);
  const errors = stderr.split("\n").filter((line) => line.startsWith("error: "));
  assertEquals(errors.length, 2, stderr);
  assertStringIncludes(errors[0]!, `${poem}`);
  assertStringIncludes(errors[0]!, "is text; give a PNG");
  assertStringIncludes(errors[1]!, none);
});

Deno.test("predict without images says how it is called", async () => {
  assertRefused(await runTask("predict", ["photo.jpg"]), "deno task predict ", " photo.jpg");
  assertRefused(await runTask("predict", [run]), `deno task predict ${run} photo.jpg`);
  assertRefused(await runTask("predict", ["README.md", "photo.jpg"]), "README.md", "runs/NAME");
});

Deno.test("eval takes the file of a run for the run, and a checkpoint for its weights", async () => {
  const few = ["--limit", "10", "--json", ...onWasm];
  const of = async (...args: string[]) =>
    jsonLines(await runTaskWell("eval", [...args, ...few]))[0];
  assertEquals((await of(`${run}/config.json`)).weights, "best");
  assertEquals((await of(`${run}/last.safetensors`)).weights, "last");
  assertEquals((await of(`${run}/config.json`, "--weights", "last")).weights, "last");
  const args = [`${run}/last.safetensors`, "--weights", "best", ...onWasm];
  assertRefused(await runTask("eval", args), "last.safetensors", "leave out --weights");
});

Deno.test("eval --split val repeats the validation of training, and says what it is", async () => {
  const history = await Deno.readTextFile(`${run}/history.jsonl`);
  const { valLoss, valAccuracy } = JSON.parse(history.trim());
  const { code, stdout, stderr } = await runTask("eval", [
    run,
    "--split",
    "val",
    "--json",
    ...onWasm,
  ]);
  assertEquals(code, 0, stderr);
  const report = JSON.parse(stdout);
  assertAlmostEquals(report.loss, valLoss, 1e-4);
  assertAlmostEquals(report.accuracy, valAccuracy, 1e-6);
  assertStringIncludes(stderr, "These images chose the best epoch");
});

Deno.test("eval refuses data of other classes, naming the first that differs", () =>
  withCopy(async (copy) => {
    // As trained through the API on two classes of its own.
    const path = `${copy}/best.safetensors`;
    const state = await loadWeights(path);
    await saveWeights(path, { ...state, classNames: ["cat", "dog"] });
    const result = await runTask("eval", [copy, ...onWasm]);
    assertRefused(result, 'class 0 is "cat" in the run and "red circle" in shapes');
    assert(!result.stdout.includes("NaN"), result.stdout);
  }));

Deno.test("eval on other images of the same classes says so", () =>
  withCopy(async (copy) => {
    const path = `${copy}/best.safetensors`;
    const { dataset, ...state } = await loadWeights(path);
    await saveWeights(path, { ...state, dataset: { ...dataset, identity: "0".repeat(64) } });
    const stdout = await runTaskWell("eval", [copy, "--limit", "10", ...onWasm]);
    assertStringIncludes(stdout, "These images are not those of the run");
  }));

Deno.test("eval of weights that give no finite loss prints no table", () =>
  withCopy(async (copy) => {
    const path = `${copy}/best.safetensors`;
    const state = await loadWeights(path);
    for (const { data } of state.weights.values()) data.fill(3e38);
    await saveWeights(path, state);
    const result = await runTask("eval", [copy, "--limit", "10", ...onWasm]);
    assertRefused(result, path, "NaN");
    assert(!result.stdout.includes("|"), result.stdout);
  }));

Deno.test("predict refuses an image that is not there", async () => {
  assertRefused(await runTask("predict", [run, `${folder}/none.png`]), `${folder}/none.png`);
});

Deno.test("predict refuses weights that it does not know", async () => {
  assertRefused(await runTask("predict", [run, "a.png", "--weights", "bets"]), '"bets"', "best");
});

Deno.test("eval refuses a folder without a run", async () => {
  assertRefused(await runTask("eval", [`${folder}/none`]), `${folder}/none`, "no config.json");
});

Deno.test("eval asks for the run", async () => {
  assertRefused(await runTask("eval", []), "run");
});

Deno.test("eval refuses a split that it does not know", async () => {
  const result = await runTask("eval", [run, "--split", "dev", ...onWasm]);
  assertRefused(result, '"dev"', "test or train or val");
});

Deno.test("eval refuses a checkpoint with one flipped bit", () =>
  withCopy(async (copy) => {
    const path = `${copy}/best.safetensors`;
    const bytes = await Deno.readFile(path);
    bytes[bytes.length - 1000]! ^= 4;
    await Deno.writeFile(path, bytes);
    assertRefused(await runTask("eval", [copy, ...onWasm]), path, "damaged");
  }));

Deno.test("eval refuses a checkpoint cut short", () =>
  withCopy(async (copy) => {
    const path = `${copy}/best.safetensors`;
    await Deno.truncate(path, 100_000);
    assertRefused(await runTask("eval", [copy, ...onWasm]), path);
  }));

Deno.test("eval refuses a foreign safetensors file", () =>
  withCopy(async (copy) => {
    const path = `${copy}/best.safetensors`;
    await Deno.copyFile(`${projectRoot}tests/golden/small-mean.safetensors`, path);
    assertRefused(await runTask("eval", [copy, ...onWasm]), path);
  }));

Deno.test("eval refuses a checkpoint of another configuration", () =>
  withCopy(async (copy) => {
    const path = `${copy}/config.json`;
    const config = JSON.parse(await Deno.readTextFile(path));
    // All weights keep their shapes, so that only the configuration tells.
    const other = { ...config, numHeads: 2, keyDim: 32 };
    await Deno.writeTextFile(path, JSON.stringify(other));
    const result = await runTask("eval", [copy, ...onWasm]);
    assertRefused(result, "another configuration", "numHeads is 4", "2");
  }));

Deno.test("--resume refuses weights of another configuration, and changes nothing", () =>
  withCopy(async (copy) => {
    const before = await contentsOf(copy);
    const args = ["--resume", copy, "--transformer-layers", "2", ...onWasm];
    assertRefused(await runTask("train", args), "another configuration", "transformerLayers is 1");
    assertEquals(await contentsOf(copy), before);
  }));
