/** `train:mpi` as a user starts it, on wasm; `deno task test:mpi` does more, and on webgpu. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { inFolder, writeCifar } from "../data/fixtures.ts";
import { forEachLibrary, launch } from "../distributed/mpirun.ts";
import { trainMpi, weightsDigest } from "../distributed/train_mpi.ts";
import { assertRefused, jsonLines, projectRoot, runTask, smallRun } from "./run_task.ts";

/**
 * Two epochs of 4 steps, of parts of 11 images, which two ranks share unevenly; the last is of 11
 * and 1, which leaves none for one rank. All that a step can have.
 */
const run = [
  ...smallRun,
  ...["--limit", "82", "--batch-size", "22", "--accumulate", "2", "--epochs", "2"],
  ...["--clip-norm", "0.5", "--ema", "0.9", "--drop-path", "0.1", "--head-dropout", "0.1"],
  ...["--augment", "flip|crop(2)|mixup(0.8)", "--seed", "3", "--json"],
];

/** The first weights of two ranks, whichever library has run first. */
let before: string | undefined;

forEachLibrary(
  "two ranks train as one process does, and print once",
  (launcher) =>
    inFolder(async (folder) => {
      const ranked = await launch(launcher, trainMpi(2, [...run, "--out", `${folder}/two`]));
      assertEquals(ranked.code, 0, ranked.stderr);
      const alone = await runTask("train", [...run, "--out", `${folder}/one`]);
      assertEquals(alone.code, 0, alone.stderr);
      const [two, one] = [ranked, alone].map(({ stdout }) => jsonLines(stdout));
      assertEquals(two!.length, one!.length);
      for (const [i, line] of one!.slice(1, 3).entries()) {
        for (const key of ["loss", "valLoss", "emaValLoss"]) {
          const [expected, found] = [line[key], two![i + 1][key]];
          assert(
            Math.abs(found / expected - 1) < 1e-4,
            `epoch ${i + 1} ${key}: ${found}, ${expected}`,
          );
        }
      }
      const last = two!.at(-1);
      assert(Math.abs(last.test.loss / one!.at(-1).test.loss - 1) < 1e-4);

      // Two numbers have one sum, whoever adds them: both libraries train to the same bytes.
      const digest = await weightsDigest(`${folder}/two`);
      assertEquals(digest, before ?? digest);
      before = digest;

      // One process goes on with what two have begun.
      const resumed = ["--resume", `${folder}/two`, "--epochs", "3", "--json"];
      const longer = await runTask("train", resumed);
      assertEquals(longer.code, 0, longer.stderr);
      assertEquals(jsonLines(longer.stdout).at(-1).step, 12);
    }),
);

forEachLibrary(
  "ranks that cannot train together are refused, once",
  (launcher) =>
    inFolder(async (folder) => {
      const train = (ranks: number, ...args: string[]) =>
        trainMpi(ranks, [...smallRun, ...args, "--out", `${folder}/run`]);
      const few = await launch(launcher, train(2, "--batch-size", "1"));
      assertEquals(few.code, 2, few.stderr);
      const errors = few.stderr.split("\n").filter((line) => line.startsWith("error: "));
      assertEquals(errors, [
        "error: 2 ranks cannot share a batch of 1 images (--batch-size 1); start at most 1 ranks, or " +
        "take a larger batch.",
      ]);

      const programs = [train(1, "--learning-rate", "0.1"), train(1, "--learning-rate", "0.2")];
      const other = await launch(launcher, ...programs);
      assertEquals(other.code, 2, other.stderr);
      assertStringIncludes(other.stderr, "error: Rank 1: learningRate is 0.2 on ");
      assertEquals(await Array.fromAsync(Deno.readDir(folder)), []);
    }),
);

forEachLibrary(
  "ranks of other data, or of another version, are refused by rank and field",
  (launcher) =>
    inFolder(async (folder) => {
      const sides = await Promise.all(["a", "b"].map(async (name) => {
        const data = `${folder}/${name}`;
        await Deno.mkdir(data);
        await writeCifar(data, "cifar10");
        return trainMpi(1, [...smallRun, "--dataset", "cifar10", "--data", data]);
      }));
      const changed = `${folder}/b/data_batch_3.bin`;
      const bytes = await Deno.readFile(changed);
      bytes[100]! ^= 1;
      await Deno.writeFile(changed, bytes);
      const data = await launch(launcher, ...sides);
      assertEquals(data.code, 2, data.stderr);
      assertStringIncludes(data.stderr, "error: Rank 1: checksum of the data is ");

      // The same program, but for what its deno.json says.
      const other = `${folder}/other`;
      await Deno.mkdir(other);
      for (const name of ["lib", "tasks"]) {
        await Deno.symlink(projectRoot + name, `${other}/${name}`);
      }
      const config = { ...denoJson, version: "0.0.0-other" };
      await Deno.writeTextFile(`${other}/deno.json`, JSON.stringify(config));
      const { command } = trainMpi(1, smallRun);
      const place = ["--config", `${other}/deno.json`, "--no-lock"];
      const older = [...command.slice(0, 2), ...place, ...command.slice(2)]
        .map((word) => word === "tasks/train.ts" ? `${other}/${word}` : word);
      const version = await launch(
        launcher,
        trainMpi(1, smallRun),
        { ranks: 1, command: older },
      );
      assertEquals(version.code, 2, version.stderr);
      assertStringIncludes(version.stderr, 'error: Rank 1: deno-vit is "0.0.0-other" on ');
    }),
);

Deno.test("a library that cannot be loaded is named", async () => {
  const result = await runTask("train:mpi", ["--mpi", "/no/libmpi.so"]);
  assertRefused(
    result,
    "--mpi /no/libmpi.so is a library",
    "--allow-ffi=/usr/lib/x86_64",
    ",/no/libmpi.so",
  );
});
