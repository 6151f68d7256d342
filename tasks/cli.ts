/** What every task shares: how options are declared and read, how errors end the process. */
import { Command, CommanderError, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { UserError } from "../lib/errors.ts";
import { nearest } from "../lib/nearest.ts";
import denoJson from "../deno.json" with { type: "json" };
import { type KnownOption, translate } from "./aliases.ts";
import { OutputClosed, write } from "./output.ts";

/** What `--quiet` does, for help texts. */
export const quietText = "print results and notices alone, these on standard error";

/** Where runs are kept unless told otherwise, and where `--resume auto` looks. */
export const runsFolder = "runs";

/** A task's command line: defaults shown in `--help`, wrong options end with code 2. */
export function newCommand(name: string, description: string): Command {
  const command = new Command(`deno task ${name}`);
  return command
    .description(description)
    .helpOption("-h, --help", "show this help")
    .version(
      `deno-vit ${denoJson.version} (Deno ${Deno.version.deno})`,
      "-V, --version",
      "show the version",
    )
    .configureHelp({ helpWidth: 100 })
    // It suggests what is far from the word that was typed.
    .showSuggestionAfterError(false)
    // Colours would be asked of environment variables that a task is not allowed to read.
    .configureOutput({
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      writeOut: write,
      outputError: (text, tell) => tell(`${explained(text.trim(), command)}\n`),
    })
    .exitOverride();
}

/** Reads the command line of this process, in the words of other tools too; see aliases.ts. */
export function parseArguments<
  C extends { parse(args: string[], from: { from: "user" }): unknown },
>(
  command: C,
): C {
  const { options } = command as unknown as CommandUnknownOpts;
  const known = options.map(({ long, flags }): KnownOption => ({
    name: long?.slice(2) ?? "",
    isBoolean: flags.endsWith(" <boolean>"),
  }));
  command.parse(translate(Deno.args, known), { from: "user" });
  return command;
}

/**
 * As {@linkcode parseArguments}, but prints nothing of a wrong command line.
 * @throws {UserError} in place of what would be printed
 */
export function parseQuietly(command: Command): void {
  let text = "";
  command.configureOutput({ outputError: (said) => void (text = explained(said.trim(), command)) });
  try {
    parseArguments(command);
  } catch (error) {
    if (!(error instanceof CommanderError) || error.exitCode === 0) throw error;
    throw new UserError(text.replace(/^error: /, ""));
  }
}

/** What commander says of a wrong command line, in one line that says the way out. */
function explained(text: string, command: Command): string {
  const [, option] = /^error: unknown option '--([^'=]+)/.exec(text) ?? [];
  if (option !== undefined) {
    const near = nearest(option, command.options.map(({ long }) => long?.slice(2) ?? ""));
    return near === undefined ? `${text}; see --help` : `${text}; did you mean --${near}?`;
  }
  const [, argument] = /^error: missing required argument '([^']+)'/.exec(text) ?? [];
  if (argument !== undefined) {
    return `error: <${argument}> is missing: ${command.name()} ${command.usage()}`;
  }
  const [, word] = /^error: too many arguments.*: (.*)\.$/s.exec(text) ?? [];
  if (word !== undefined) {
    return `error: "${word}" is more than this task takes: ${command.name()} ${command.usage()}`;
  }
  return `${text.replaceAll("\n", " ").replace(/\.$/, "")}; see --help`;
}

/** Exit code of a process whose output nobody reads any more, as shells give it (SIGPIPE). */
export const outputClosedCode = 141;

/**
 * Runs a task. A {@linkcode UserError} is printed as one sentence and ends the process with code 2,
 * as does a wrong option and what Deno was not allowed; the end of whoever reads the output ends it
 * quietly; any other error is a bug and keeps its stack.
 */
export async function runTask(task: () => Promise<void>): Promise<void> {
  silenceDriver();
  try {
    await task();
  } catch (error) {
    if (error instanceof CommanderError) Deno.exit(error.exitCode === 0 ? 0 : 2);
    if (error instanceof OutputClosed) Deno.exit(outputClosedCode);
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

/**
 * The count that an option's word stands for.
 *
 * @param of what is counted, as in "a number of `of` from 1"
 * @throws {UserError} unless it is a whole number from 1 to 999,999.
 */
export function countOf(option: string, word: string, of: string): number {
  if (/^[1-9]\d{0,5}$/.test(word)) return Number(word);
  throw new UserError(`Option ${option} cannot be "${word}"; give a number of ${of} from 1.`);
}

/** An option's value where the command line has it; undefined where its default stands instead. */
export function givenOption<O extends Record<string, unknown>, K extends keyof O & string>(
  command: { opts(): O; getOptionValueSource(key: NoInfer<K>): string | undefined },
  key: K,
): O[K] | undefined {
  return command.getOptionValueSource(key) === "cli" ? command.opts()[key] : undefined;
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
