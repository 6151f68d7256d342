/** `eval` and `predict` on one small run, and on what is wrong with copies of it. */
import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { loadWeights, saveWeights } from "../../lib/checkpoint/state.ts";
import type { WeightsState } from "../../lib/checkpoint/training_state.ts";
import { encodePng } from "../../lib/report/encode_png.ts";
import { inFolder } from "../data/fixtures.ts";
import { picture, writeTree } from "../data/picture_files.ts";
import {
  assertRefused,
  contentsOf,
  jsonLines,
  projectRoot,
  runTask,
  runTaskWell,
  smallRun,
  type TaskResult,
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
  const { confusion, confused, classes } = report;
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  let right = 0;
  classes.forEach((scores: Record<string, number>, k: number) => {
    const hits = confusion[k][k];
    right += hits;
    assertEquals(sum(confusion[k]), scores.count);
    const guessed = sum(confusion.map((row: number[]) => row[k]));
    assertEquals(scores.precision, guessed === 0 ? null : hits / guessed);
    assertEquals(scores.recall, scores.count === 0 ? null : hits / scores.count!);
  });
  assertAlmostEquals(right / 60, report.accuracy, 1e-6);
  const most = Math.max(...confusion.flatMap((row: number[], k: number) => row.toSpliced(k, 1)));
  assertEquals([confused[0].count, confused.length], [most, 10]);
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
  assert(/^\| class +\| images \| precision \| +recall \| +top-5 \|$/m.test(stdout), stdout);
  assert(/^\| black circle +\| +\d+ \|/m.test(stdout), stdout);
  assert(/^\| \w+ \w+, taken for \w+ \w+ +\| +\d+ \|/m.test(stdout), stdout);
  assertStringIncludes(stdout, "The confusion matrix of 100 classes is too wide to print");
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

Deno.test("predict answers the good files, names the bad ones and ends with 2", async () => {
  const good = ["a", "b"].map((name) => `${folder}/good ${name}.png`);
  const data = Uint8Array.from({ length: 20 * 30 * 3 }, (_, i) => (i * 11) % 256);
  for (const path of good) {
    await Deno.writeFile(path, encodePng({ width: 20, height: 30, channels: 3, data }));
  }
  const empty = `${folder}/empty.png`;
  await Deno.writeFile(empty, new Uint8Array());
  const none = `${folder}/none.jpg`;
  const paths = [good[0]!, empty, none, good[1]!];
  const { code, stdout, stderr } = await runTask("predict", [run, ...paths, "--json", ...onWasm]);
  assertEquals([code, jsonLines(stdout).map(({ image }) => image)], [2, good]);
  const lines = stderr.trimEnd().split("\n");
  assertEquals(lines.length, 2);
  assert(lines[0]!.startsWith(`error: ${empty} is empty`), stderr);
  assert(lines[1]!.startsWith(`error: Cannot read ${none}`), stderr);
});

/** Runs predict with bytes on standard input. */
async function predictInput(bytes: Uint8Array, args: readonly string[]): Promise<TaskResult> {
  await using child = new Deno.Command("deno", {
    args: ["task", "--quiet", "predict", run, ...args, ...onWasm],
    cwd: projectRoot,
    env: { NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  // What is refused before it is read closes the pipe.
  await input.write(bytes).then(() => input.close()).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const text = (part: Uint8Array) => new TextDecoder().decode(part);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("predict takes folders, patterns and standard input, and prints lines, a table or CSV", async () => {
  // Two passes through the model and a part of a third.
  const tree = Object.fromEntries(Array.from({ length: 70 }, (_, i) => [`${100 + i}.png`, i]));
  const photos = `${folder}/photos`;
  await writeTree(photos, { ...tree, "notes.txt": "x" });
  const whole = await runTaskWell("predict", [run, photos, "--json", "--top", "100", ...onWasm]);
  const objects = jsonLines(whole);
  assertEquals(objects.map(({ image }) => image), Object.keys(tree).map((n) => `${photos}/${n}`));
  assertEquals(objects.map(({ predictions }) => predictions.length), Array(70).fill(100));

  const rows = (text: string) => text.trimEnd().split("\n");
  const table = rows(await runTaskWell("predict", [run, photos, "--table", ...onWasm]));
  assertEquals(table.length, 70);
  for (const [i, { image, predictions: [{ className }] }] of objects.entries()) {
    assert(new RegExp(`^ +\\d+\\.\\d\\d %  ${className} +${image}$`).test(table[i]!), table[i]);
  }
  const glob = `${photos}/16[89].png`;
  const csv = rows(await runTaskWell("predict", [run, glob, "--csv", "--top", "2", ...onWasm]));
  const expected = objects.slice(68).flatMap(({ image, predictions }) =>
    [1, 2].map((rank) => `${image},${rank},${predictions[rank - 1].className}`)
  );
  assertEquals(csv[0], "image,rank,class,probability");
  assertEquals(csv.slice(1).map((row) => row.slice(0, row.lastIndexOf(","))), expected);

  const input = await predictInput(picture(3), ["-", "--json", "--top", "1"]);
  assertEquals(input.code, 0, input.stderr);
  const [{ image, predictions: [guess] }] = jsonLines(input.stdout);
  assertEquals([image, guess.className], ["-", objects[3].predictions[0].className]);
  assertAlmostEquals(guess.probability, objects[3].predictions[0].probability, 1e-5);
  assertRefused(await predictInput(new Uint8Array(), ["-"]), "standard input is empty");
});

Deno.test("predict refuses forms that contradict each other, and no classes", async () => {
  assertRefused(await runTask("predict", [run, "x.png", "--csv", "--json"]), "--csv", "--json");
  assertRefused(await runTask("predict", [run, "x.png", "--top", "0"]), '--top cannot be "0"');
});

Deno.test("predict says what is missing: the run, or the images", async () => {
  assertRefused(await runTask("predict", ["photo.jpg"]), "deno task predict runs/", " photo.jpg");
  assertRefused(await runTask("predict", [run]), `deno task predict ${run} photo.jpg`);
});

Deno.test("a file of the run stands for the run, and a checkpoint for itself", async () => {
  const ofConfig = await runTaskWell("eval", [`${run}/config.json`, ...onWasm]);
  assertStringIncludes(ofConfig, `${run}/best.safetensors, step 2, 60 test images`);
  const last = `${run}/last.safetensors`;
  assertStringIncludes(await runTaskWell("eval", [last, ...onWasm]), `${last}, step 2`);
  const both = await runTask("eval", [last, "--weights", "best", ...onWasm]);
  assertRefused(both, `${last} is not the run's best`);
  assertRefused(await runTask("eval", ["README.md"]), "README.md is not the folder of a run");
});

Deno.test("eval --split val takes the images that the run held out", async () => {
  const [history] = jsonLines(await Deno.readTextFile(`${run}/history.jsonl`));
  const args = [run, "--split", "val", "--json", ...onWasm];
  const { stdout, stderr, code } = await runTask("eval", args);
  assertEquals(code, 0, stderr);
  const [report] = jsonLines(stdout);
  assertAlmostEquals(report.loss, history.valLoss, 1e-4);
  assertEquals(report.accuracy, history.valAccuracy);
  assertStringIncludes(stderr, "These images chose the best epoch");
});

/** Spoils the run's copy: its checkpoints are of other classes, or of other images. */
async function retrained(copy: string, change: (state: WeightsState) => void): Promise<void> {
  const path = `${copy}/best.safetensors`;
  const state = await loadWeights(path);
  change(state);
  await saveWeights(path, state);
}

Deno.test("eval refuses data of other classes, and says where the images are others", async () => {
  await withCopy(async (copy) => {
    await retrained(copy, ({ classNames }) => classNames.splice(1, 1, "blue \u{1b}[31mwhale"));
    const result = await runTask("eval", [copy, ...onWasm]);
    assertRefused(
      result,
      `The run's classes, of "shapes", are not those of shapes`,
      'class 1 is "blue \\u001b[31mwhale" in the run and "orange circle" in shapes',
    );
    assert(!result.stdout.includes("NaN"), result.stdout);
  });
  await withCopy(async (copy) => {
    await retrained(copy, ({ classNames }) => classNames.splice(2));
    const result = await runTask("eval", [copy, ...onWasm]);
    assertRefused(result, 'class 2 is none in the run and "yellow circle" in shapes (2 and 100');
  });
  await withCopy(async (copy) => {
    await retrained(copy, ({ dataset }) => Object.assign(dataset, { identity: "f".repeat(64) }));
    const stdout = await runTaskWell("eval", [copy, ...onWasm]);
    assertStringIncludes(stdout, "These images are not those of the run");
    assert(/^test: loss \d/m.test(stdout), stdout);
  });
});

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

Deno.test("predict refuses what is not an image", async () => {
  const file = `${folder}/poem.png`;
  await Deno.writeTextFile(file, "a rose is a rose");
  assertRefused(await runTask("predict", [run, file, ...onWasm]), file, "is text; give a PNG");
});

Deno.test("predict refuses an image that is not there", async () => {
  assertRefused(await runTask("predict", [run, `${folder}/none.png`]), `${folder}/none.png`);
});

Deno.test("predict refuses weights that it does not know", async () => {
  assertRefused(await runTask("predict", [run, "a.png", "--weights", "bets"]), '"bets"', "best");
});

Deno.test("eval refuses a folder without a run", async () => {
  assertRefused(await runTask("eval", [`${folder}/none`]), `${folder}/none`, "no config.json");
});

Deno.test("export --json says in one object what was written, and replaces nothing", async () => {
  const out = `${folder}/exported.safetensors`;
  const args = [run, "--format", "safetensors", "--out", out, "--json"];
  const [object, ...rest] = jsonLines(await runTaskWell("export", args));
  const checkpoint = `${run}/best.safetensors`;
  const expected = { checkpoint, step: 2, parameters: 47_332, format: "safetensors", out };
  assertEquals([object, rest], [expected, []]);
  assertRefused(await runTask("export", args), `${out} exists already`);
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
