/**
 * Preparing a folder of pictures, measured: thousands of files of seven formats, some broken.
 *
 *     deno run --allow-read --allow-write bench/pictures.ts make --out OUT
 *     deno run --allow-read --allow-write --allow-run=deno bench/pictures.ts measure --out OUT
 *     deno run --allow-read --allow-write --allow-run=deno bench/pictures.ts kill --out OUT
 *
 * `make` writes `OUT/photos`, the same for a seed. `measure` prepares them with one worker, with two,
 * and decodes them in a plain loop, each in a process of its own, and prints pictures a second and
 * the peak of the process's memory. `kill` kills the preparing again and again at random moments and
 * compares what it ends with, byte for byte, with what it makes undisturbed.
 */
import { Option } from "@commander-js/extra-typings";
import { fitImage } from "../lib/data/image/fit.ts";
import { readImageFile } from "../lib/data/image/read.ts";
import { imageFolder } from "../lib/data/image_folder.ts";
import { prepare } from "../lib/data/prepared/prepare.ts";
import { UserError } from "../lib/errors.ts";
import { newCommand, runTask } from "../tasks/cli.ts";
import { writePhotos } from "./photo_files.ts";
import { peakBytes } from "../tests/peak_memory.ts";

/** What one process did. */
interface Work {
  pictures: number;
  broken: number;
  seconds: number;
  /** Bytes. */
  peak: number;
}

/** Ways to do the work, by how the report calls them; workers, or none for the plain loop. */
const ways = { "one worker": 1, "two workers": 2, "plain loop": 0 } as const;

interface Options {
  out: string;
  size: number;
}

/** The work itself, in this process. */
async function work({ out, size }: Options, workers: number, root: string): Promise<Work> {
  const set = await imageFolder.open(`${out}/photos`);
  const { train, validation = 0, test = 0 } = set.counts;
  const pictures = train + validation + test;
  const form = { size, fit: "crop" } as const;
  const began = performance.now();
  let broken = 0;
  if (workers > 0) broken = (await prepare(set, { root, form, workers })).broken.size;
  else {
    for await (const { path } of set.read(0, pictures)) {
      try {
        fitImage(await readImageFile(path!, { atLeast: size }), size, { fit: "crop" });
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        broken++;
      }
    }
  }
  return { pictures, broken, seconds: (performance.now() - began) / 1000, peak: peakBytes() };
}

function child({ out, size }: Options, workers: number, root: string): Deno.ChildProcess {
  const script = new URL(import.meta.url).pathname;
  return new Deno.Command("deno", {
    args: [
      ...["run", "-A", "--no-check", script, "work", "--out", out],
      ...["--size", `${size}`, "--workers", `${workers}`, "--root", root],
    ],
    ...{ stdin: "null", stdout: "piped", stderr: "inherit" },
  }).spawn();
}

async function done(process: Deno.ChildProcess): Promise<Work> {
  const [{ code }, text] = await Promise.all([process.status, process.stdout.text()]);
  if (code !== 0) throw new Error(`A process ended with ${code}`);
  return JSON.parse(text);
}

async function measure(options: Options): Promise<void> {
  const perSecond: Record<string, number> = {};
  for (const [name, workers] of Object.entries(ways)) {
    const root = `${options.out}/prepared-${workers}`;
    await removed(root);
    const { pictures, broken, seconds, peak } = await done(child(options, workers, root));
    await removed(root);
    perSecond[name] = pictures / seconds;
    console.log(
      `${name}: ${perSecond[name]!.toFixed(1)} pictures a second, ${pictures} in ` +
        `${seconds.toFixed(1)} s, ${broken} broken, peak ${Math.round(peak / 1e6)} MB`,
    );
  }
  const ratio = (name: keyof typeof ways) =>
    (perSecond["two workers"]! / perSecond[name]!).toFixed(2);
  console.log(
    `two workers: ${ratio("one worker")} times one, ${ratio("plain loop")} the plain loop`,
  );
}

async function kill(options: Options, kills: number): Promise<void> {
  const [whole, killed] = [`${options.out}/undisturbed`, `${options.out}/killed`];
  for (const root of [whole, killed]) await removed(root);
  const workers = navigator.hardwareConcurrency;
  const { seconds, pictures } = await done(child(options, workers, whole));
  console.log(`undisturbed: ${pictures} pictures in ${seconds.toFixed(1)} s`);
  // Together at least as long as the work takes, and each time enough for a shard or two, so that
  // kills meet the work from its start to its end.
  const most = 2000 * (Math.max(seconds / kills, 2 * seconds / await shardsIn(whole)) + 1);
  let begun = 1;
  for (let count = 0; count < kills;) {
    const process = child(options, workers, killed);
    const output = process.stdout.text();
    const ended = process.status.then(() => true);
    const { promise: moment, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), Math.random() * most);
    if (await Promise.race([ended, moment])) {
      // It was faster: all was done, and the next kill shall meet work.
      await removed(killed);
      begun++;
    } else {
      process.kill("SIGKILL");
      count++;
    }
    clearTimeout(timer);
    await Promise.all([ended, output]);
    console.log(`kill ${count}: ${await shardsIn(killed)} shards`);
  }
  await done(child(options, workers, killed));
  const [wanted, got] = [await filesIn(whole), await filesIn(killed)];
  if (`${wanted}` !== `${got}`) throw new Error(`The files are ${got} instead of ${wanted}`);
  for (const name of wanted) {
    const [a, b] = [
      await Deno.readFile(`${whole}/${name}`),
      await Deno.readFile(`${killed}/${name}`),
    ];
    if (!equal(a, b)) throw new Error(`${name} has other bytes`);
  }
  for (const root of [whole, killed]) await removed(root);
  console.log(`killed ${kills} times, begun ${begun} times: ${got.length} files, the same bytes`);
}

async function removed(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch(() => {});
}

/** The files of what is prepared below a root, in order. */
async function filesIn(root: string): Promise<string[]> {
  const files: string[] = [];
  for (const { name } of await Array.fromAsync(Deno.readDir(root)).catch(() => [])) {
    for await (const file of Deno.readDir(`${root}/${name}`)) files.push(`${name}/${file.name}`);
  }
  return files.sort();
}

async function shardsIn(root: string): Promise<number> {
  return (await filesIn(root)).filter((name) => name.endsWith(".shard")).length;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

await runTask(async () => {
  const command = newCommand("pictures", "Measure the preparing of a folder of pictures.")
    .argument("<mode>", "make, measure or kill")
    .requiredOption("--out <folder>", "where the pictures are, in photos/")
    .option("--files <n>", "make: how many", "10000")
    .option("--distinct <n>", "make: how many are encoded, of which the others are variants", "400")
    .option("--classes <n>", "make: folders", "10")
    .option("--seed <n>", "make", "1")
    .option("--size <pixels>", "side of what is stored", "96")
    .option("--kills <n>", "kill: how often", "20")
    .addOption(new Option("--workers <n>").default("1").hideHelp())
    .addOption(new Option("--root <folder>").default("").hideHelp());
  command.parse();
  const [mode] = command.processedArgs;
  const given = command.opts();
  const options: Options = { out: given.out, size: Number(given.size) };
  switch (mode) {
    case "make": {
      const began = performance.now();
      const [count, distinct, classes, seed] = [
        given.files,
        given.distinct,
        given.classes,
        given.seed,
      ]
        .map(Number) as [number, number, number, number];
      const { bytes, broken } = await writePhotos(`${given.out}/photos`, {
        ...{ count, distinct, classes, seed },
      });
      const seconds = Math.round((performance.now() - began) / 1000);
      return console.log(
        `${count} files, ${broken} broken, ${(bytes / 1e9).toFixed(2)} GB, in ${seconds} s`,
      );
    }
    case "measure":
      return await measure(options);
    case "kill":
      return await kill(options, Number(given.kills));
    case "work":
      return console.log(JSON.stringify(await work(options, Number(given.workers), given.root)));
    default:
      throw new UserError(`There is no mode "${mode}"; take make, measure or kill.`);
  }
});
