/**
 * Runs tasks as a user does: `deno task NAME` in a process of its own, from the project's folder,
 * with the permissions that deno.json gives it; where an argument is a path or a URL outside of
 * these, with the command that the task itself then names.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { fromFileUrl, isAbsolute } from "@std/path";
import { hostOf, widerArguments } from "../../tasks/permissions.ts";

/** The folder of deno.json. */
export const projectRoot: string = fromFileUrl(new URL("../../", import.meta.url));

/** A run of seconds; a later option overrides an earlier one of the same name. */
export const smallRun: readonly string[] = [
  ...["--preset", "tiny", "--dataset", "shapes", "--transformer-layers", "1"],
  ...["--limit", "60", "--batch-size", "32", "--epochs", "1", "--backend", "wasm", "--no-report"],
];

/** The same with a report in the end. */
export const reportedRun: readonly string[] = smallRun.filter((arg) => arg !== "--no-report");

/** No system has both, so that WebGPU finds no adapter under this environment. */
export const withoutAdapter = {
  DENO_WEBGPU_BACKEND: Deno.build.os === "darwin" ? "dx12" : "metal",
};

/** How a task ended, and what it printed. */
export interface TaskResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** A task that is not yet started. */
export function taskCommand(
  name: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Deno.Command {
  const write = args.filter(isAbsolute);
  const net = args.flatMap((argument) => hostOf(argument) ?? []);
  const isWider = write.length + net.length > 0;
  // By name and not by Deno.execPath(): the tests may run "deno" and nothing else.
  return new Deno.Command("deno", {
    args: isWider ? [...widerArguments(name, { write, net }), ...args] : ["task", name, ...args],
    cwd: projectRoot,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

/** Runs a task to its end. */
export async function runTask(
  name: string,
  args: readonly string[],
  env?: Record<string, string>,
): Promise<TaskResult> {
  const { code, stdout, stderr } = await taskCommand(name, args, env).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Runs a task that must succeed; its output. */
export async function runTaskWell(name: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runTask(name, args);
  assertEquals(code, 0, stderr);
  return stdout;
}

/** Asserts that a task refused its input: exit code 2, one line of error with `texts`, no stack. */
export function assertRefused({ code, stdout, stderr }: TaskResult, ...texts: string[]): void {
  const lines = stderr.trimEnd().split("\n");
  const errors = lines.filter((line) => line.startsWith("error: "));
  assertEquals(errors.length, 1, stderr);
  assertEquals(lines.at(-1), errors[0], "something follows the error");
  assert(!/^\s+at /m.test(stdout + stderr), `a stack was printed:\n${stderr}`);
  for (const text of texts) assertStringIncludes(errors[0]!, text);
  assertEquals(code, 2, stderr);
}

/** The objects of JSON lines. */
// deno-lint-ignore no-explicit-any -- what a test looks for, it names
export function jsonLines(text: string): any[] {
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** Every file below a folder, by path: what must not change. */
export async function contentsOf(folder: string): Promise<Record<string, Uint8Array>> {
  const entries = await Array.fromAsync(
    Deno.readDir(folder),
    async ({ name, isDirectory }): Promise<[string, Uint8Array][]> => {
      if (!isDirectory) return [[name, await Deno.readFile(`${folder}/${name}`)]];
      const inner = Object.entries(await contentsOf(`${folder}/${name}`));
      return inner.map(([path, bytes]) => [`${name}/${path}`, bytes]);
    },
  );
  return Object.fromEntries(entries.flat().sort(([a], [b]) => a < b ? -1 : 1));
}

/** Whether a path exists. */
export async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
