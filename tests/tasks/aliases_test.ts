import { assertEquals, assertThrows } from "@std/assert";
import { UserError } from "../../lib/errors.ts";
import { runFieldTypes } from "../../lib/config/run.ts";
import { aliases, translate } from "../../tasks/aliases.ts";

const options = [
  ...["learning-rate", "batch-size", "epochs", "out", "backend"].map((name) => ({
    name,
    isBoolean: false,
  })),
  { name: "flip", isBoolean: true },
];

/** What is typed, and what the command reads. */
const cases: [args: string[], read: string[]][] = [
  [["--lr", "1e-3", "--bs=32"], ["--learning-rate", "1e-3", "--batch-size=32"]],
  [["--batch_size", "8"], ["--batch-size", "8"]],
  [["--batchSize", "8"], ["--batch-size", "8"]],
  [["--num_train_epochs=3"], ["--epochs=3"]],
  [["--per_device_train_batch_size", "8"], ["--batch-size", "8"]],
  [["--output_dir", "my_run"], ["--out", "my_run"]],
  [["--no-flip", "--lr", "1"], ["--flip=false", "--learning-rate", "1"]],
  [["--no-hflip"], ["--flip=false"]],
  [["--flip", "--lr", "1"], ["--flip=true", "--learning-rate", "1"]],
  [["--flip", "false"], ["--flip", "false"]],
  [["--flip"], ["--flip=true"]],
  // What is no alias of an option of this command stays, for its own error.
  [["--wd", "1"], ["--wd", "1"]],
  [["--no-epochs"], ["--no-epochs"]],
  [["-h", "--help", "a_b.png", "-"], ["-h", "--help", "a_b.png", "-"]],
  [["--", "--lr"], ["--", "--lr"]],
];

for (const [args, read] of cases) {
  Deno.test(`${args.join(" ")} is read as ${read.join(" ")}`, () => {
    assertEquals(translate(args, options), read);
  });
}

Deno.test("an option without a counterpart is answered in words", () => {
  for (const name of ["--optimizer", "--num_workers=4", "--pretrained"]) {
    assertThrows(() => translate([name], options), UserError, name.split("=")[0]);
  }
});

Deno.test("no alias hides an option of a run, and each stands for one that a task has", () => {
  const kebab = (name: string) => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
  const fields = Object.keys(runFieldTypes).map(kebab);
  const others = ["out", "data", "resume", "init-from", "save-every", "keep", "backend"];
  for (const [alias, target] of Object.entries(aliases)) {
    assertEquals(fields.includes(alias), false, alias);
    assertEquals([...fields, ...others].includes(target), true, target);
  }
});
