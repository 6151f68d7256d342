/** What every task shares: how options are declared, how errors end the process. */
import { Command, CommanderError } from "@commander-js/extra-typings";
import { UserError } from "../lib/errors.ts";

/** A task's command line: defaults shown in `--help`, wrong options end with code 2. */
export function newCommand(name: string, description: string): Command {
  return new Command(`deno task ${name}`)
    .description(description)
    .helpOption("-h, --help", "show this help")
    .configureHelp({ helpWidth: 100 })
    // Colours would be asked of environment variables that a task is not allowed to read.
    .configureOutput({
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      // An error is one line; commander puts its suggestion on a second.
      outputError: (text, write) => write(text.trim().replaceAll("\n", " ") + "\n"),
    })
    .exitOverride();
}

/**
 * Runs a task. A {@linkcode UserError} is printed as one sentence and ends the process with code 2,
 * as does a wrong option and what Deno was not allowed; any other error is a bug and keeps its stack.
 */
export async function runTask(task: () => Promise<void>): Promise<void> {
  silenceDriver();
  try {
    await task();
  } catch (error) {
    if (error instanceof CommanderError) Deno.exit(error.exitCode === 0 ? 0 : 2);
    const isRefused = error instanceof Deno.errors.NotCapable;
    if (!(error instanceof UserError) && !isRefused) throw error;
    console.error(`error: ${error.message}${isRefused ? " (see docs/permissions.md)." : ""}`);
    Deno.exit(2);
  }
}

/**
 * The value that an option's word stands for.
 * @throws {UserError} naming the option and the words that it knows.
 */
export function oneOf<T>(option: string, word: string, known: Record<string, T>): T {
  if (Object.hasOwn(known, word)) return known[word]!;
  throw new UserError(
    `Option ${option} cannot be "${word}"; take ${Object.keys(known).join(" or ")}.`,
  );
}

/** Whether people are looking: progress bars and colours are for terminals only. */
export function onTerminal(): boolean {
  return Deno.stdout.isTerminal();
}

/**
 * Keeps Deno's WebGPU from printing two lines that look like errors: on Linux without a desktop
 * session it misses a folder that only windows would need.
 */
function silenceDriver(): void {
  const name = "XDG_RUNTIME_DIR";
  if (Deno.build.os !== "linux") return;
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") return;
  if (Deno.env.get(name) === undefined) Deno.env.set(name, "/tmp");
}
