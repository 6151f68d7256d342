/**
 * What each ingredient of a recipe is worth by itself, on `compact` with a small budget, the same for
 * all:
 *
 *     deno run --allow-read --allow-write=data,runs --allow-env=XDG_RUNTIME_DIR bench/ablation.ts
 *
 * Each run is the recipe with one thing taken out, put in or exchanged, and batches of 64, so that few
 * images make enough steps. Two seeds tell an effect from chance: their spread stands beside it. Runs
 * that are there (`--root`) are not made again, so it can be stopped and started.
 */
import { selectBackend } from "../lib/backend/select.ts";
import { parseRunConfig, preset, type RunConfig } from "../lib/config/run.ts";
import { limitSplit } from "../lib/data/dataset.ts";
import { loadDataset } from "../lib/data/load.ts";
import { UserError } from "../lib/errors.ts";
import { markdownTable } from "../lib/report/tables.ts";
import { newCommand, runTask } from "../tasks/cli.ts";
import { trainOrGoOn } from "./trained.ts";

/** One change each. */
const changes: Record<string, Partial<RunConfig>> = {
  "nothing": {},
  "constant rate": { schedule: "constant" },
  "no warm-up": { warmupEpochs: 0 },
  "no smoothing": { labelSmoothing: 0 },
  "neither crop nor flip": { augment: "" },
  "patches instead of convolutions": { tokenizer: "patches", patchSize: 4, convChannels: [] },
  "mean instead of sequence pooling": { pooling: "mean" },
  "no decay": { weightDecay: 0 },
  "EMA 0.99": { ema: 0.99 },
  "drop path 0.1": { dropPath: 0.1 },
  "dropout 0.1": { attentionDropout: 0.1, mlpDropout: 0.1 },
  "RandAugment": { augment: "flip|crop(4)|randaugment(2,9)" },
  "MixUp": { augment: "flip|crop(4)|mixup(0.8)" },
};

interface Options {
  backend: string;
  data?: string;
  md5?: string;
  root: string;
  limit: number;
  testLimit: number;
  batchSize: number;
  epochs: number;
  seeds: number;
  only?: string;
}

/** The path of a name. */
const slug = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");

/** The changes that somebody asks for, and that to nothing, which all are held against. */
function chosen(only: string | undefined): string[] {
  const names = Object.keys(changes);
  if (only === undefined) return names;
  const asked = only.split(",").map((name) => name.trim());
  const wrong = asked.find((name) => !names.includes(name));
  if (wrong !== undefined) {
    throw new UserError(`There is no change "${wrong}"; take some of: ${names.join(", ")}.`);
  }
  return ["nothing", ...asked.filter((name) => name !== "nothing")];
}

await runTask(async () => {
  const command = newCommand("ablation", "Measure what each ingredient of a recipe is worth.")
    .option("--backend <name>", "webgpu, wasm or cpu", "auto")
    .option("--data <source>", "folder or archive of CIFAR-100; default: data/")
    .option("--md5 <sum>", "checksum of the archive, or none; default: the official one")
    .option("--root <folder>", "where the runs lie", "runs/ablation")
    .option("--limit <n>", "train images", Number, 5000)
    .option("--test-limit <n>", "test images", Number, 5000)
    .option("--batch-size <n>", "of each step", Number, 64)
    .option("--epochs <n>", "of each run", Number, 10)
    .option("--seeds <n>", "runs of each", Number, 2)
    .option("--only <names>", "some of the changes, separated by commas");
  command.parse();
  const options = command.opts() as Options;
  const { backend, data, md5, root, limit, testLimit, batchSize, epochs, seeds, only } = options;
  const names = chosen(only);
  console.log((await selectBackend(backend)).reason);
  const whole = await loadDataset({
    ...{ dataset: "cifar100", labels: "fine", root: "data", data, md5 },
  });
  const dataset = {
    ...whole,
    identity: `${whole.identity}/${limit}/${testLimit}`,
    train: limitSplit(whole.train, limit),
    test: limitSplit(whole.test, testLimit),
  };
  const base: Partial<RunConfig> = {
    ...preset("compact"),
    ...{ batchSize, epochs, validationSplit: 0, warmupEpochs: epochs / 10 },
  };
  const results = new Map<string, number[]>(names.map((name) => [name, []]));
  // Seed by seed, so that there is a whole table early.
  for (let seed = 1; seed <= seeds; seed++) {
    for (const name of names) {
      const config = parseRunConfig({ ...base, ...changes[name], seed });
      const path = `${root}/${slug(name)}-${seed}`;
      results.get(name)!.push(100 * await trainOrGoOn(path, config, dataset));
    }
  }
  const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
  const plain = results.get("nothing")!;
  const rows = names.map((name) => {
    const all = results.get(name)!;
    const effects = all.map((value, i) => value - plain[i]!);
    const signed = (value: number) => `${value < 0 ? "" : "+"}${value.toFixed(2)}`;
    return [
      name,
      all.map((value) => value.toFixed(2)).join(", "),
      name === "nothing" ? "" : effects.map(signed).join(", "),
      name === "nothing" ? "" : signed(mean(effects)),
    ];
  });
  console.log(
    `\n${limit} images, ${epochs} epochs in batches of ${batchSize}; top-1 in percent of ${testLimit}`,
  );
  console.log(markdownTable(["change", "top-1, by seed", "points", "mean"], rows));
  Deno.exit(0);
});
