/**
 * Ranks that are killed, and ranks on webgpu: `train:mpi` under each launcher, for minutes.
 * What is killed is a `deno run` itself, so what its launcher sees is a process that ended by a
 * signal, as of one that ran out of memory.
 *
 * `deno task test:mpi -- --kills 4` kills fewer; with `--folder PATH` what is done stays there, and the
 * same command goes on after the last kill.
 */
import { assert, assertEquals } from "@std/assert";
import { resolve } from "@std/path";
import { inFolder } from "../checkpoint/folder.ts";
import { forEachLibrary, launch, type Launcher } from "../distributed/mpirun.ts";
import { trainMpi, weightsDigest } from "../distributed/train_mpi.ts";
import { readHistory } from "../../lib/checkpoint/history.ts";
import { countOf, newCommand, parseArguments } from "../../tasks/cli.ts";
import { exists, jsonLines, runTask, smallRun } from "../tasks/run_task.ts";
import { delay, type Pace, RankedLife } from "./ranked_life.ts";

const options = parseArguments(
  newCommand("test:mpi", "Kill ranks at random moments, and compare the end.")
    .option("--kills <n>", "how many under each library", "20")
    .option("--folder <path>", "keeps what is done, and goes on with it"),
).opts();
const kills = countOf("--kills", options.kills, "kills");

/** Milliseconds in which all must have ended. */
const patience = 10_000;

/** Of the run; as many as make each life a few of them long. */
const epochs = 6 * kills;

const recipe = ["--augment", "flip|crop(2)|mixup(0.8)", "--ema", "0.9", "--clip-norm", "1"];

/** Fifteen steps an epoch; a state is saved inside each. */
const longRun = [
  ...[...smallRun, ...recipe, "--limit", "240", "--batch-size", "16", "--epochs", `${epochs}`],
  ...["--save-every", "5", "--json"],
];

/** What a kill was like, a line of `kills.jsonl`. */
interface Kill {
  /** Epochs that were done. */
  epoch: number;
  /** Until all had ended; null where something was left after the {@linkcode patience}. */
  milliseconds: number | null;
}

async function epochsOf(path: string): Promise<number> {
  return await exists(`${path}/history.jsonl`)
    ? (await readHistory(`${path}/history.jsonl`)).length
    : 0;
}

/** The run that nobody kills, and its pace. */
async function straightRun(launcher: Launcher, folder: string): Promise<Pace> {
  if (await exists(`${folder}/pace.json`)) {
    return JSON.parse(await Deno.readTextFile(`${folder}/pace.json`));
  }
  const path = `${folder}/straight`;
  if (await exists(path)) await Deno.remove(path, { recursive: true });
  const life = new RankedLife(launcher, [...longRun, "--out", path], path);
  await life.ranks();
  await life.ended();
  assertEquals(life.code, 0, await life.errors);
  const pace = life.paceOf(epochs);
  await Deno.writeTextFile(`${folder}/pace.json`, JSON.stringify(pace));
  return pace;
}

/**
 * Lets two ranks train until one of them is killed. Lives are drawn so that the kills left are spread over
 * the epochs left but one, and each is too short for the end of the run: from 0 to twice its mean, in
 * epochs, where the start counts as one. The fraction is one of an epoch's time.
 * @param rest kills to come, this one among them
 */
async function killOne(
  launcher: Launcher,
  path: string,
  pace: Pace,
  rest: number,
): Promise<Kill> {
  const left = epochs - await epochsOf(path);
  const draw = Math.random() * (1 + 2 * Math.max(0, left - 1) / (rest + 1));
  const isBegun = await exists(`${path}/config.json`);
  const place = isBegun ? ["--resume", path] : ["--out", path];
  const args = isBegun ? ["--epochs", `${epochs}`, "--save-every", "5", "--json"] : longRun;
  const life = new RankedLife(launcher, [...args, ...place], path);
  const ranks = await life.ranks();
  if (draw < 1) await delay(draw * pace.start);
  else if (await life.reach(Math.floor(draw) - 1)) await delay(draw % 1 * pace.epoch);
  assertEquals(life.code, undefined, `ended before its kill: ${await errorsOf(life)}`);
  const milliseconds = await life.kill(ranks[Math.floor(Math.random() * 2)]!, patience);
  assert(life.code !== 0, "a run whose rank was killed says that all is well");
  return { epoch: await epochsOf(path), milliseconds };
}

/** Of a life that has ended; nothing of one that has not. */
async function errorsOf(life: RankedLife): Promise<string> {
  return life.code === undefined ? "" : await life.errors;
}

async function killAll(launcher: Launcher, folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const pace = await straightRun(launcher, folder);
  const [path, record] = [`${folder}/killed`, `${folder}/kills.jsonl`];
  const done: Kill[] = await exists(record) ? jsonLines(await Deno.readTextFile(record)) : [];
  while (done.length < kills) {
    const kill = await killOne(launcher, path, pace, kills - done.length);
    done.push(kill);
    await Deno.writeTextFile(record, `${JSON.stringify(kill)}\n`, { append: true });
    const { epoch, milliseconds } = kill;
    console.log(
      `${launcher.library}, kill ${done.length} of ${kills}, in epoch ${epoch + 1} of ${epochs}: ` +
        (milliseconds === null
          ? `something was left after ${patience} ms`
          : `all had ended after ${Math.round(milliseconds)} ms`),
    );
  }
  assertEquals(done.filter(({ milliseconds }) => milliseconds === null), []);
  const goOn = ["--resume", path, "--epochs", `${epochs}`, "--save-every", "5", "--json"];
  const { code, stderr } = await launch(launcher, trainMpi(2, goOn));
  assertEquals(code, 0, stderr);
  const [found, expected] = await Promise.all([path, `${folder}/straight`].map(async (run) => {
    const lines = await readHistory(`${run}/history.jsonl`);
    const history = lines.map(({ seconds: _, date: __, ...line }) => line);
    return { history, weights: await weightsDigest(run) };
  }));
  assertEquals(found, expected);
}

forEachLibrary(
  `${kills} killed ranks end all, and the run goes on to the same bytes`,
  (launcher) => {
    const name = launcher.library.toLowerCase().replace(" ", "-");
    return options.folder === undefined
      ? inFolder((folder) => killAll(launcher, folder))
      : killAll(launcher, resolve(options.folder, name));
  },
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
