/**
 * The processes that train one run: this one alone, or with `--mpi` the ranks that a launcher such
 * as mpirun has started, each with the same command line.
 *
 * An error that all ranks know of is told by rank 0, after which each ends by itself. One that a
 * rank meets alone is told by that rank, which then has MPI end the others: they may be waiting for
 * it in a sum, from where nothing else would take them.
 */
import { type Command, CommanderError } from "@commander-js/extra-typings";
import { findLibrary, sizeVariables } from "../lib/distributed/libraries.ts";
import { Mpi } from "../lib/distributed/mpi.ts";
import { assertSame, inTurns, type Ranks, together } from "../lib/distributed/ranks.ts";
import { FailedTogether } from "../lib/distributed/ranks.ts";
import { UserError } from "../lib/errors.ts";
import { tf } from "../lib/tfjs.ts";
import { Diverged } from "../lib/train/diverged.ts";
import denoJson from "../deno.json" with { type: "json" };
import { outputClosedCode, parseArguments, parseQuietly } from "./cli.ts";
import type { Screen } from "./lines.ts";
import { OutputClosed, screen } from "./output.ts";
import { askToLoad } from "./permissions.ts";

/** The processes, as each of them sees them. */
export interface Company {
  /** Absent where this process trains alone. */
  readonly ranks?: Ranks;
  /** Whether this process prints, and has the run's files. */
  readonly leads: boolean;
  /** Where this process prints. */
  readonly screen: Screen;
  /** Reads the command line. */
  parse(command: Command): Promise<void>;
  /** Does something everywhere, after which all go on or none. */
  together<T>(work: () => T | Promise<T>): Promise<T>;
  /** The same, but on one process of a machine before the others. */
  inTurns<T>(work: () => T | Promise<T>): Promise<T>;
  /** Refuses processes that differ in a fact, by name. */
  assertSame(facts: Record<string, unknown>): Promise<void>;
}

const alone: Company = {
  leads: true,
  screen,
  parse: (command) => Promise.resolve(void parseArguments(command)),
  together: async (work) => await work(),
  inTurns: async (work) => await work(),
  assertSame: () => Promise.resolve(),
};

/** Where the other ranks print. */
const nowhere: Screen = {
  isTerminal: false,
  columns: () => 80,
  write: () => {},
  writeError: () => {},
};

/**
 * Does a task's work among the processes that it was started with, and ends this one.
 * @param work gives the exit code
 */
export async function inCompany(work: (company: Company) => Promise<number>): Promise<never> {
  const wanted = mpiOption();
  if (wanted === undefined) Deno.exit(await work(alone));
  const mpi = await join(wanted);
  let code: number;
  try {
    code = await work(companyOf(mpi));
    mpi.finalize();
  } catch (error) {
    code = endAll(mpi, error);
  }
  Deno.exit(code);
}

/** The value of `--mpi`, which must be known before the command line can be read on all ranks. */
function mpiOption(): string | undefined {
  const end = Deno.args.indexOf("--");
  const args = end < 0 ? Deno.args : Deno.args.slice(0, end);
  const at = args.findLastIndex((arg) => arg === "--mpi" || arg.startsWith("--mpi="));
  if (at < 0) return undefined;
  return args[at] === "--mpi" ? args[at + 1] ?? "" : args[at]!.slice("--mpi=".length);
}

async function join(wanted: string): Promise<Mpi> {
  const environment = environmentOf([...sizeVariables, ...rankVariables]);
  try {
    if (wanted !== "auto") await askToLoad("--mpi", wanted);
    const mpi = Mpi.begin(wanted === "auto" ? await findLibrary(environment) : wanted);
    const [variable] = sizeVariables.filter((name) => Number(environment[name]) > 1);
    if (mpi.size > 1 || variable === undefined) return mpi;
    throw new UserError(
      `The launcher started ${
        environment[variable]
      } processes (${variable}), and each is alone for ` +
        `${mpi.library.version} (${mpi.library.path}), which is not the launcher's own library; ` +
        `name that with --mpi PATH.`,
    );
  } catch (error) {
    const [rank] = rankVariables.flatMap((name) => environment[name] ?? []);
    // One of them tells it. The others wait, or the launcher would end that one first.
    if (rank === undefined || rank === "0" || !(error instanceof UserError)) throw error;
    await new Promise((resolve) => setTimeout(resolve, 2000));
    Deno.exit(2);
  }
}

/** The variables by which launchers tell a process's rank. */
const rankVariables = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"];

function environmentOf(names: readonly string[]): Record<string, string> {
  const values = names.map((name) => [name, Deno.env.get(name)]);
  return Object.fromEntries(values.filter(([, value]) => value !== undefined));
}

function companyOf(ranks: Mpi): Company {
  const leads = ranks.rank === 0;
  return {
    ranks,
    leads,
    screen: leads ? screen : nowhere,
    parse: async (command) => {
      const { deno } = Deno.version;
      await assertSame(ranks, { "deno-vit": denoJson.version, Deno: deno, tfjs: tf.version.tfjs });
      if (!leads) command.configureOutput({ writeOut: () => {} });
      await together(ranks, () => parseQuietly(command));
    },
    together: (work) => together(ranks, work),
    inTurns: (work) => inTurns(ranks, work),
    assertSame: (facts) => assertSame(ranks, facts),
  };
}

/** Tells an error, where it is for this rank to tell, and ends MPI; gives the exit code. */
function endAll(mpi: Mpi, error: unknown): number {
  const leads = mpi.rank === 0;
  const known = error instanceof FailedTogether ? 2 : codeOf(error);
  if (known !== undefined) {
    if (leads && known === 2) console.error(`error: ${(error as Error).message}`);
    mpi.finalize();
    return known;
  }
  // All have come to the same, and rank 0 looks for its cause; it ends this one, too.
  if (error instanceof Diverged && !leads) mpi.barrier();
  const who = leads ? "" : `Rank ${mpi.rank} on ${mpi.processor}: `;
  const isPlain = error instanceof UserError || error instanceof Deno.errors.NotCapable;
  if (isPlain) console.error(`error: ${who}${error.message}`);
  else console.error(who, error);
  const code = isPlain ? 2 : 1;
  mpi.abort(code);
  return code;
}

/** The exit code of what ends a task without being an error. */
function codeOf(error: unknown): number | undefined {
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  return error instanceof OutputClosed ? outputClosedCode : undefined;
}
