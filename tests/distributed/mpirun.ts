/**
 * Runs processes under the launchers of the MPI libraries that are installed.
 *
 * Where one is missing its tests are ignored, with the reason in their name, unless the environment
 * variable DENO_VIT_REQUIRE_MPI is 1: then they fail.
 */
import { projectRoot } from "../tasks/run_task.ts";

/** A library's launcher, under the name that Debian gives it where several are installed. */
export interface Launcher {
  library: "Open MPI" | "MPICH";
  command: string;
  /** Before the number of ranks: more of them than processors, and root, are allowed. */
  args: readonly string[];
}

/** Those that are known. */
export const launchers: readonly Launcher[] = [
  { library: "Open MPI", command: "mpirun.openmpi", args: ["--oversubscribe", "--quiet"] },
  { library: "MPICH", command: "mpirun.mpich", args: [] },
];

/** Open MPI refuses root without, as whom a container's tests run. */
const environment = { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" };

/** What a launcher's processes have printed, and how it ended. */
export interface LaunchResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** Programs beside one another, each with its number of ranks. */
export type Program = { ranks: number; command: readonly string[] };

/** A launcher at work. */
export function spawn(
  { command, args }: Launcher,
  programs: readonly Program[],
): Deno.ChildProcess {
  const parts = programs.map(({ ranks, command }) => ["-n", `${ranks}`, ...command]);
  return new Deno.Command(command, {
    args: [...args, ...parts.flatMap((part, i) => i > 0 ? [":", ...part] : part)],
    cwd: projectRoot,
    env: { NO_COLOR: "1", ...environment },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs programs to their end. */
export async function launch(
  launcher: Launcher,
  ...programs: readonly Program[]
): Promise<LaunchResult> {
  const { code, stdout, stderr } = await spawn(launcher, programs).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

const isRequired = Deno.env.get("DENO_VIT_REQUIRE_MPI") === "1";

async function isInstalled({ command }: Launcher): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args: ["--version"] }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

const installed = await Promise.all(launchers.map(isInstalled));

/** The launchers that are there. */
export const installedLaunchers: readonly Launcher[] = launchers.filter((_, i) => installed[i]);

/** Registers `name [Open MPI]` and `name [MPICH]`. */
export function forEachLibrary(name: string, test: (launcher: Launcher) => Promise<void>): void {
  launchers.forEach((launcher, i) => {
    const isMissing = !isRequired && !installed[i];
    const reason = isMissing ? ` (ignored: ${launcher.command} is not installed)` : "";
    Deno.test({
      name: `${name} [${launcher.library}]${reason}`,
      ignore: isMissing,
      fn: () => test(launcher),
    });
  });
}

/** What `deno` runs with for a file of the tests that loads MPI. */
export function denoWithMpi(file: string, ...args: string[]): string[] {
  const allowed = ["--allow-read", "--allow-ffi", "--allow-env"];
  return ["deno", "run", "--no-check", ...allowed, `tests/distributed/${file}`, ...args];
}
