/**
 * Images a second under wasm of one process with one thread, of one with a thread for each processor,
 * and of as many ranks with one thread each, under every MPI launcher that is installed. Each is started
 * anew in every round, one after the other:
 *
 *     deno run --allow-read --allow-env --allow-run=deno,mpirun.openmpi,mpirun.mpich bench/ranks.ts \
 *       --preset tiny --batch-size 128
 *
 * Timed are the trainer's own steps within one epoch: no validation and no save is among them, and the
 * first steps are left out.
 */
import type { RunConfig } from "../lib/config/run.ts";
import { UserError } from "../lib/errors.ts";
import { markdownTable } from "../lib/report/tables.ts";
import { newCommand, parseArguments, runTask } from "../tasks/cli.ts";
import { print } from "../tasks/output.ts";
import { readRunConfig } from "../tasks/run_options.ts";
import { installedLaunchers, launch } from "../tests/distributed/mpirun.ts";
import type { RankArguments } from "./rank.ts";
import { median } from "./statistics.ts";

/** Steps before those that are timed. */
const WARMUP = 5;

/** One way to use the processors. */
interface Contender {
  name: string;
  /** Milliseconds of each step. */
  run(config: RunConfig, steps: number): Promise<number[]>;
}

function commandOf(args: RankArguments): string[] {
  const allowed = ["--allow-read", "--allow-env", ...(args.isRanked ? ["--allow-ffi"] : [])];
  return ["deno", "run", "--no-check", ...allowed, "bench/rank.ts", JSON.stringify(args)];
}

function ofProcess(threads: number): Contender {
  return {
    name: `1 process, ${threads === 1 ? "1 thread" : `${threads} threads`}`,
    async run(config, steps) {
      const [program, ...args] = commandOf({ config, steps, threads, isRanked: false });
      const cwd = new URL("../", import.meta.url);
      const { code, stdout, stderr } = await new Deno.Command(program!, { args, cwd }).output();
      return timesOf(this.name, code, decoded(stdout), decoded(stderr));
    },
  };
}

function ofRanks(ranks: number, launcher: (typeof installedLaunchers)[number]): Contender {
  return {
    name: `${ranks} ranks, 1 thread each, ${launcher.library}`,
    async run(config, steps) {
      const command = commandOf({ config, steps, threads: 1, isRanked: true });
      const { code, stdout, stderr } = await launch(launcher, { ranks, command });
      return timesOf(this.name, code, stdout, stderr);
    },
  };
}

function timesOf(name: string, code: number, stdout: string, stderr: string): number[] {
  if (code !== 0) throw new UserError(`${name} failed with ${code}: ${stderr.trim()}`);
  return JSON.parse(stdout.trim().split("\n").at(-1)!);
}

function decoded(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

await runTask(async () => {
  const processors = navigator.hardwareConcurrency;
  const command = newCommand("ranks", "Measure ranks beside the threads of one process.")
    .option("--preset <name>", "what to train", "tiny")
    .option("--batch-size <integer>", "images of a batch, of all ranks together", "128")
    .option("--ranks <integer>", "ranks, and threads of the one process", `${processors}`)
    .option("--steps <integer>", "timed steps of each in a round", "40")
    .option("--rounds <integer>", "rounds", "3");
  parseArguments(command);
  const { preset, batchSize, ranks, steps, rounds } = command.opts();
  const config = await readRunConfig({ preset, batchSize });
  const contenders = [
    ofProcess(1),
    ofProcess(Number(ranks)),
    ...installedLaunchers.map((launcher) => ofRanks(Number(ranks), launcher)),
  ];
  const medians = contenders.map((): number[] => []);
  for (let round = 0; round < Number(rounds); round++) {
    for (const [i, contender] of contenders.entries()) {
      const times = await contender.run(config, WARMUP + Number(steps) + 1);
      medians[i]!.push(median(times.slice(WARMUP)));
    }
  }
  const speeds = medians.map((times) => 1000 * config.batchSize / median(times));
  print(`${preset}, batch ${batchSize}, wasm, ${processors} processors; ${rounds} rounds in turn`);
  print(markdownTable(
    ["", "ms a step", "images/s", "beside 1 thread"],
    contenders.map(({ name }, i) => [
      name,
      median(medians[i]!).toFixed(0),
      speeds[i]!.toFixed(0),
      `${(speeds[i]! / speeds[0]!).toFixed(2)} times`,
    ]),
  ));
});
