import { assert, assertEquals } from "@std/assert";
import { modelConfigOf, preset } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { blocks, csv, json, table } from "../../lib/report/predictions.ts";
import { Classifier } from "../../lib/train/predict.ts";
import { Lines } from "../../tasks/lines.ts";
import { predictAll } from "../../tasks/predict_all.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../data/fixtures.ts";
import { classesOf, writeTree } from "../data/picture_files.ts";
import { tinyModel } from "../models/tiny_model.ts";
import { FakeScreen } from "./fake_screen.ts";

const classNames = ["cat", "dog"];
const formats = { blocks, csv, json, table: table(classNames) };

/** What 40 pictures and a word that means none print, the clock going on with each look at it. */
async function printed(screen: FakeScreen, format: keyof typeof formats): Promise<boolean> {
  let isGood = false;
  const config = { ...preset("tiny"), ...tinyModel, numClasses: 2 };
  const model = createViTClassifier(modelConfigOf(config));
  const size = config.imageSize;
  const preprocessing = { height: size, width: size, channels: 3, mean: [0, 0, 0] };
  const context = { preprocessing: { ...preprocessing, variance: [1, 1, 1] }, classNames };
  using classifier = new Classifier(model, context);
  await inFolder(async (folder) => {
    const tree = classesOf(["a"], 40);
    await writeTree(folder, tree);
    const files = [...Object.keys(tree).map((name) => `${folder}/${name}`), new UserError("None.")];
    const lines = new Lines(screen, format === "json", () => screen.time += 40);
    isGood = await predictAll(files, { classifier, top: 1, format: formats[format], lines });
  });
  model.dispose();
  return isGood;
}

const on = { backends: ["cpu" as const] };

forEachBackend(
  "on a terminal predict says how many pictures are done, and wipes it out",
  async () => {
    for (const format of ["blocks", "csv", "table"] as const) {
      const screen = new FakeScreen(true);
      assertEquals(await printed(screen, format), false);
      const progress = [...screen.text.matchAll(/Classifying (\d+)\/41/g)].map(([, done]) =>
        +done!
      );
      assert(progress.length > 5 && progress[0] === 0 && progress.at(-1)! > 35, `${progress}`);
      assertEquals(progress, progress.toSorted((a, b) => a - b));
      assert(!screen.shown().includes("Classifying"), screen.shown());
      assertEquals(screen.errors, "error: None.\n");
      const rows = screen.shown().trimEnd().split("\n").length;
      assertEquals(rows, { blocks: 80, csv: 41, table: 40 }[format]);
    }
  },
  on,
);

forEachBackend("piped or with JSON predict prints predictions and nothing else", async () => {
  const screens = [["table", false], ["csv", false], ["json", true], ["json", false]] as const;
  for (const [format, isTerminal] of screens) {
    const screen = new FakeScreen(isTerminal);
    await printed(screen, format);
    for (const text of ["Classifying", "\r", "\x1b"]) assert(!screen.text.includes(text), format);
    assertEquals(screen.text.trimEnd().split("\n").length, format === "csv" ? 41 : 40);
  }
}, on);
