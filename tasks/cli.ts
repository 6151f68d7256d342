/** What every task shares: how options are declared, how errors end the process. */
import { Command, CommanderError } from "@commander-js/extra-typings";
import { UserError } from "../lib/errors.ts";

/** A task's command line: defaults shown in `--help`, wrong options end with code 2. */
export function newCommand(name: string, description: string): Command {
  return new Command(`deno task ${name}`)
    .description(description)
    .helpOption("-h, --help", "show this help")
    .configureHelp({ helpWidth: 100 })
    .exitOverride();
}

/**
 * Runs a task. A {@linkcode UserError} is printed as one sentence and ends the process with code 2,
 * as does a wrong option; any other error is a bug and keeps its stack.
 */
export async function runTask(task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    if (error instanceof CommanderError) Deno.exit(error.exitCode === 0 ? 0 : 2);
    if (!(error instanceof UserError)) throw error;
    console.error(`error: ${error.message}`);
    Deno.exit(2);
  }
}

/** Whether people are looking: progress bars and colours are for terminals only. */
export function onTerminal(): boolean {
  return Deno.stdout.isTerminal();
}
