import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { runFieldTypes } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { aliases, type KnownOption, translate } from "../../tasks/aliases.ts";
import { assertRefused, runTask } from "./run_task.ts";

const options: KnownOption[] = [
  { name: "flip", isBoolean: true },
  ...["learning-rate", "batch-size", "out"].map((name) => ({ name, isBoolean: false })),
];

/** Arguments of other tools, and ours. */
const cases: [theirs: string, ours: string][] = [
  ["--lr 0.1", "--learning-rate 0.1"],
  ["--lr=0.1 x.png", "--learning-rate=0.1 x.png"],
  ["--batch_size 8", "--batch-size 8"],
  ["--batchSize=8", "--batch-size=8"],
  ["--per_device_train_batch_size 8", "--batch-size 8"],
  ["--output_dir runs/a", "--out runs/a"],
  ["--no-flip --out a", "--flip=false --out a"],
  ["--no_hflip", "--flip=false"],
  ["--flip", "--flip=true"],
  ["--flip --out a", "--flip=true --out a"],
  ["--flip false", "--flip false"],
  ["--flip maybe", "--flip maybe"],
  ["--flip=false", "--flip=false"],
  ["--foo 1 -h", "--foo 1 -h"],
  ["-- --lr", "-- --lr"],
  ["--out --", "--out --"],
];

for (const [theirs, ours] of cases) {
  Deno.test(`${theirs} is ${ours}`, () => {
    assertEquals(translate(theirs.split(" "), options), ours.split(" "));
  });
}

Deno.test("an option of another tool without a counterpart is answered", () => {
  const { message } = assertThrows(() => translate(["--optim", "sgd"], options), UserError);
  assertStringIncludes(message, "There is no option --optim here: the optimizer is AdamW");
  // Where the option exists, the answer is not given.
  assertEquals(translate(["--optim"], [{ name: "optim", isBoolean: false }]), ["--optim"]);
});

Deno.test("aliases stand for options of train, and none hides one", async () => {
  const { stdout } = await runTask("train", ["--help"]);
  // Options open a line; the words of other tools stand in the text below them.
  const known = new Set(
    [...stdout.matchAll(/^ +(?:-\w, )?--([a-z0-9-]+)/gm)].map(([, name]) => name),
  );
  for (const [alias, name] of Object.entries(aliases)) {
    assert(known.has(name), `${alias} stands for ${name}, which is none`);
    assert(!known.has(alias), `${alias} is an option itself`);
  }
  assert(Object.keys(runFieldTypes).length > 20);
});

/** Command lines, and what the answer must say. */
const answers: Record<string, [task: string, args: string[], ...texts: string[]]> = {
  "--lr -1": ["train", ["--lr", "-1"], "Option --learning-rate cannot be -1: it must be above 0"],
  "--batch_size 0": ["train", ["--batch_size", "0"], "Option --batch-size cannot be 0"],
  "--no-flip with a wrong word": ["train", ["--no-flip", "--epochs", "0"], "--epochs cannot be 0"],
  "--preset foo": [
    "train",
    ["--preset", "foo"],
    '"foo"; known are keras-cifar100, tiny, compact, strong, finetune.',
  ],
  "--foo": ["train", ["--foo"], "unknown option '--foo'; see --help"],
  "--jsno": ["eval", ["x", "--jsno"], "did you mean --json?"],
  "a word": ["train", ["tiny"], '"tiny" is more than this task takes: deno task train [options]'],
  "no run": ["predict", [], "<run> is missing: deno task predict [options] <run> <images...>"],
  "no format": ["export", ["x"], "--format", "see --help"],
};

for (const [what, [task, args, ...texts]] of Object.entries(answers)) {
  Deno.test(`${task} answers ${what}`, async () => {
    assertRefused(await runTask(task, args), ...texts);
  });
}
