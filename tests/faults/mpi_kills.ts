/**
 * Ranks that are killed, and ranks on webgpu: `train:mpi` under each launcher, for minutes.
 * What is killed is a `deno run` itself, so what its launcher sees is a process that ended by a
 * signal, as of one that ran out of memory.
 */
import { assert, assertEquals } from "@std/assert";
import { inFolder } from "../checkpoint/folder.ts";
import { forEachLibrary, launch, type Launcher, spawn } from "../distributed/mpirun.ts";
import { trainMpi, weightsDigest } from "../distributed/train_mpi.ts";
import { readHistory } from "../../lib/checkpoint/history.ts";
import { jsonLines, runTask, smallRun } from "../tasks/run_task.ts";

const kills = 20;
/** Milliseconds in which all must have ended. */
const patience = 10_000;

const recipe = ["--augment", "flip|crop(2)|mixup(0.8)", "--ema", "0.9", "--clip-norm", "1"];

/** Process ids of the ranks of a run, lowest first. */
async function ranksOf(path: string): Promise<number[]> {
  const found: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const words = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
    // A launcher names the run on its command line, too.
    if (/^[^\0]*\bdeno\0run\0/.test(words) && words.includes(path)) found.push(Number(name));
  }
  return found.sort((a, b) => a - b);
}

/** Lets two ranks train until one of them is killed, at a random moment. */
async function killOne(launcher: Launcher, args: readonly string[], path: string) {
  const child = spawn(launcher, [trainMpi(2, args)]);
  const output = child.output();
  let ranks: number[] = [];
  while (ranks.length < 2) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    ranks = await ranksOf(path);
  }
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 2500));
  const victim = ranks[Math.floor(Math.random() * 2)]!;
  try {
    Deno.kill(victim, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const began = performance.now();
  const { code } = await output;
  const milliseconds = performance.now() - began;
  // A process may still be on its way out.
  while ((await ranksOf(path)).length > 0 && performance.now() - began < patience) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { code, milliseconds, left: await ranksOf(path) };
}

forEachLibrary(
  `${kills} killed ranks end all, and the run goes on to the same bytes`,
  (launcher) =>
    inFolder(async (folder) => {
      const common = [...smallRun, ...recipe, "--limit", "240", "--batch-size", "16"];
      const epochs = ["--epochs", "120", "--save-every", "5"];
      const straight = await launch(
        launcher,
        trainMpi(2, [...common, ...epochs, "--out", `${folder}/straight`]),
      );
      assertEquals(straight.code, 0, straight.stderr);

      const path = `${folder}/killed`;
      let slowest = 0;
      let killed = 0;
      let finished = false;
      while (killed < kills && !finished) {
        const isBegun = await Deno.stat(`${path}/config.json`).then(() => true, () => false);
        const place = isBegun ? ["--resume", path] : [...common, "--out", path];
        const { code, milliseconds, left } = await killOne(launcher, [...place, ...epochs], path);
        assertEquals(left, [], "ranks are left");
        slowest = Math.max(slowest, milliseconds);
        finished = code === 0;
        if (!finished) killed++;
      }
      assert(slowest < patience, `${slowest} ms until the last had ended`);
      assertEquals(killed, kills, "the run was done before");
      const rest = await launch(launcher, trainMpi(2, ["--resume", path, ...epochs]));
      assertEquals(rest.code, 0, rest.stderr);
      assertEquals(await weightsDigest(path), await weightsDigest(`${folder}/straight`));
      const [found, expected] = await Promise.all([path, `${folder}/straight`].map(async (run) => {
        const lines = await readHistory(`${run}/history.jsonl`);
        return lines.map(({ seconds: _, date: __, ...line }) => line);
      }));
      assertEquals(found, expected);
      console.log(
        `${kills} ranks killed under ${launcher.library}: all had ended ${
          Math.round(slowest)
        } ms ` +
          `later at the latest, and the run is the one that was never killed`,
      );
    }),
);

forEachLibrary(
  "two ranks on webgpu train as one process does",
  (launcher) =>
    inFolder(async (folder) => {
      const run = [...smallRun, ...recipe, "--accumulate", "2", "--backend", "webgpu", "--json"];
      const alone = await runTask("train", [...run, "--out", `${folder}/one`]);
      assertEquals(alone.code, 0, alone.stderr);
      const digests = [];
      for (const name of ["two", "again"]) {
        const ranked = await launch(launcher, trainMpi(2, [...run, "--out", `${folder}/${name}`]));
        assertEquals(ranked.code, 0, ranked.stderr);
        const [found, expected] = [ranked, alone].map(({ stdout }) => jsonLines(stdout)[1]);
        assert(Math.abs(found.loss / expected.loss - 1) < 1e-4, `${found.loss}, ${expected.loss}`);
        digests.push(await weightsDigest(`${folder}/${name}`));
      }
      assertEquals(digests[0], digests[1]);
    }),
);
