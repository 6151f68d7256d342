/**
 * What a task may do stands in deno.json, and docs/permissions.md says why. Deno cannot widen that
 * by an option, so a task asks at its start for the folder or host that an option names: Deno
 * prompts on a terminal, and elsewhere one sentence holds the command that is allowed to.
 */
import { basename } from "@std/path";
import denoJson from "../deno.json" with { type: "json" };
import { publicUrl } from "../lib/data/public_url.ts";
import { UserError } from "../lib/errors.ts";

/** What a task needs beyond deno.json. */
export interface Wider {
  /** Folders to write to. */
  write?: readonly string[];
  /** Hosts to reach, with their port. */
  net?: readonly string[];
  /** Libraries to load. */
  ffi?: readonly string[];
}

/**
 * Asks for writing to the folder that an option names.
 * @throws {UserError} with the command that may, if the answer is no or nobody can be asked.
 */
export async function askToWrite(option: string, path: string): Promise<void> {
  const { state } = await Deno.permissions.request({ name: "write", path });
  if (state === "granted") return;
  throw new UserError(
    `${option} ${path} is outside of what this task may write to (docs/permissions.md); ` +
      `allow it with: ${ownCommand({ write: [path] })}`,
  );
}

/**
 * Asks for loading the library that an option names.
 * @throws {UserError} with the command that may, if the answer is no or nobody can be asked.
 */
export async function askToLoad(option: string, path: string): Promise<void> {
  const { state } = await Deno.permissions.request({ name: "ffi", path });
  if (state === "granted") return;
  throw new UserError(
    `${option} ${path} is a library that this task may not load (docs/permissions.md); ` +
      `allow it with: ${ownCommand({ ffi: [path] })}`,
  );
}

/**
 * Asks for reaching the host, where an option names a URL.
 * @throws {UserError} with the command that may, if the answer is no or nobody can be asked.
 */
export async function askToReach(option: string, source: string | undefined): Promise<void> {
  const host = hostOf(source);
  if (host === undefined) return;
  const { state } = await Deno.permissions.request({ name: "net", host });
  if (state === "granted") return;
  throw new UserError(
    `${option} ${publicUrl(source!)} is on a host that this task may not reach ` +
      `(docs/permissions.md); allow it with: ${ownCommand({ net: [host] })}`,
  );
}

/**
 * Asks for listening on an address, where it is not this machine's own.
 * @throws {UserError} with the command that may, if the answer is no or nobody can be asked.
 */
export async function askToListen(option: string, host: string, port: number): Promise<void> {
  const place = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const { state } = await Deno.permissions.request({ name: "net", host: place });
  if (state === "granted") return;
  throw new UserError(
    `${option} ${host} would show the page to other machines, which this task may not do ` +
      `(docs/permissions.md); allow it with: ${ownCommand({ net: [place] })}`,
  );
}

/** The host and port of a URL of HTTP; undefined for anything else. */
export function hostOf(source: string | undefined): string | undefined {
  if (source === undefined || !/^https?:/i.test(source) || !URL.canParse(source)) return undefined;
  const { host, port, protocol } = new URL(source);
  return port === "" ? `${host}:${protocol === "https:" ? 443 : 80}` : host;
}

/**
 * The arguments of `deno` that run a task with its permissions of deno.json and some more.
 * @param task its name in deno.json
 */
export function widerArguments(
  task: string,
  { write = [], net = [], ffi = [] }: Wider,
): string[] {
  const { command } = denoJson.tasks[task as keyof typeof denoJson.tasks];
  return command.split(" ").slice(1).map((argument) => {
    const [flag, scope] = argument.split("=");
    const added = { "--allow-write": write, "--allow-net": net, "--allow-ffi": ffi }[flag!] ?? [];
    // Without a scope all is allowed. A comma in a path is written twice.
    if (scope === undefined || added.length === 0) return argument;
    return [argument, ...added.map((each) => each.replaceAll(",", ",,"))].join(",");
  });
}

/** The command that this process should have been, to be pasted into a shell. */
function ownCommand(wider: Wider): string {
  const { task, rest } = ownTask();
  const given = rest.map((argument) => hostOf(argument) ? withoutSecrets(argument) : argument);
  return ["deno", ...widerArguments(task, wider), ...given].map(quoted).join(" ");
}

/** The task that this process is, and the arguments that are not of deno.json. */
function ownTask(): { task: string; rest: string[] } {
  const file = `tasks/${basename(Deno.mainModule)}`;
  const found = Object.entries(denoJson.tasks).flatMap(([task, { command }]) => {
    const words = command.split(" ");
    const fixed = words.slice(words.indexOf(file) + 1);
    const isIt = words.includes(file) && fixed.every((word, i) => word === Deno.args[i]);
    return isIt ? [{ task, rest: Deno.args.slice(fixed.length) }] : [];
  });
  return found.sort((a, b) => a.rest.length - b.rest.length)[0]!;
}

/** Passwords and keys go into no output, so they must be put in again. */
function withoutSecrets(url: string): string {
  return url.replace(/\/\/[^/?#]*@/, "//USER:PASSWORD@").replace(/\?.*/s, "?QUERY");
}

function quoted(word: string): string {
  return /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
