/**
 * One file operation of `deno task train` fails, or is the last one of its process: every open, read,
 * write, sync, rename, link and so on of a small run in turn, by a library that is loaded before Deno
 * (fail_once.c).
 *
 * The first operation of each kind on each file is tried; for all, each of them with both errors and
 * a kill, and one of them again on a slow disk, in half an hour:
 * `deno task test:faults --filter operation -- all`, or `-- all 2` for every second operation.
 */
import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { readHistory } from "../../lib/checkpoint/history.ts";
import { equals, inFolder, names } from "../checkpoint/folder.ts";
import { projectRoot } from "../tasks/run_task.ts";

/** EIO, ENOSPC and SIGKILL, in turn; where all operations are tried, each. */
const ends = ["5", "28", "KILL"];
/** Milliseconds of a sync on a slow disk. */
const slow = "100";
/** Runs at a time. */
const together = 2;

/** Three epochs of two steps, each step saved. */
const smallest = [
  ...["--preset", "tiny", "--dataset", "shapes", "--transformer-layers", "1"],
  ...["--projection-dim", "16", "--transformer-units", "32,16", "--image-size", "16"],
  ...["--limit", "70", "--batch-size", "32", "--epochs", "3", "--save-every", "1"],
];

/** gcc, where it is there to be run. */
async function compiler(): Promise<string | null> {
  if (Deno.build.os !== "linux") return null;
  try {
    const { success } = await new Deno.Command("gcc", { args: ["--version"] }).output();
    return success ? "gcc" : null;
  } catch {
    return null;
  }
}

async function build(gcc: string, folder: string): Promise<string> {
  const source = fromFileUrl(new URL("fail_once.c", import.meta.url));
  const library = `${folder}/fail_once.so`;
  const { success, stderr } = await new Deno.Command(gcc, {
    args: ["-Wall", "-Werror", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return library;
}

interface Ended {
  code: number;
  stderr: string;
}

/** Runs the task, with a library loaded before it where one is given. */
async function train(
  args: readonly string[],
  library?: string,
  env: Record<string, string> = {},
): Promise<Ended> {
  const task = ["deno", "run", "-A", "tasks/train.ts", ...args, "--backend", "wasm"];
  // Deno gives a child no LD_PRELOAD unless it may run whatever it likes.
  const preload = library === undefined ? "" : 'export LD_PRELOAD="$0"; ';
  const { code, stderr } = await new Deno.Command("bash", {
    args: ["-c", `${preload}exec "$@"`, library ?? "bash", ...task],
    cwd: projectRoot,
    env: { NO_COLOR: "1", ...env },
    ...{ stdin: "null", stdout: "null", stderr: "piped" },
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

const compared = ["last.safetensors", "best.safetensors", "history.jsonl"];

/** What a file says of the run's numbers: a history also says when and how long. */
async function comparable(path: string): Promise<Uint8Array> {
  if (!path.endsWith(".jsonl")) return await Deno.readFile(path);
  const records = (await readHistory(path)).map(({ seconds: _, date: __, ...rest }) => rest);
  return new TextEncoder().encode(JSON.stringify(records));
}

/** The files of `run` that are not those of the undisturbed one. */
async function differences(run: string, undisturbed: string): Promise<string[]> {
  const found: string[] = [];
  for (const file of compared) {
    const [ours, theirs] = await Promise.all(
      [run, undisturbed].map((folder) => comparable(`${folder}/${file}`).catch(() => null)),
    );
    if (!ours || !theirs || !equals(ours, theirs)) found.push(file);
  }
  return found;
}

/** Which operation fails, and how. */
interface Attack {
  /** From 1. */
  at: number;
  /** An error's number, or KILL. */
  what: string;
  isSlow: boolean;
}

/** How a run went of which one operation failed, and how it was taken up again. */
interface Case {
  code: number;
  faults: string[];
}

async function attack(
  library: string,
  run: string,
  undisturbed: string,
  { at, what, isSlow }: Attack,
): Promise<Case> {
  const env = { F_DIR: run, F_AT: `${at}`, F_WHAT: what, ...(isSlow && { F_SLOW: slow }) };
  const { code, stderr } = await train([...smallest, "--out", run], library, env);
  const faults: string[] = [];
  if (code !== 0 && code !== (what === "KILL" ? 137 : 2)) faults.push(`code ${code}`);
  const lines = stderr.trimEnd().split("\n");
  if (/^\s+at /m.test(stderr)) faults.push(`a stack:\n${stderr}`);
  else if (code === 2 && !(lines.at(-1)!.startsWith("error: ") && lines.at(-1)!.endsWith("."))) {
    faults.push(`no sentence:\n${stderr}`);
  }
  if (code === 0) {
    const other = await differences(run, undisturbed);
    if (other.length > 0) faults.push(`it ended well, but ${other} differ`);
  }
  // As its user would go on: with the run, or where none was begun with a new one of that name.
  const isBegun = await Deno.stat(`${run}/config.json`).then(() => true, () => false);
  const again = await train(isBegun ? ["--resume", run] : [...smallest, "--out", run]);
  if (again.code !== 0) faults.push(`then code ${again.code}: ${again.stderr}`);
  const other = await differences(run, undisturbed);
  if (other.length > 0) faults.push(`then ${other} differ`);
  const left = await names(run).catch(() => ["no folder"]);
  const foreign = left.filter((name) => /^\.|lock|no folder/.test(name));
  if (foreign.length > 0) faults.push(`then there is ${foreign}`);
  return { code, faults };
}

const gcc = await compiler();
Deno.test({
  name: gcc
    ? "a file operation that fails: a sentence, and the run goes on to the same end"
    : "a file operation that fails (not tried: there is no gcc on Linux to build what lets it fail)",
  ignore: gcc === null,
  fn: () =>
    inFolder(async (folder) => {
      const library = await build(gcc!, folder);
      const undisturbed = `${folder}/undisturbed`;
      const log = `${folder}/log`;
      const watched = { F_DIR: undisturbed, F_LOG: log };
      const first = await train([...smallest, "--out", undisturbed], library, watched);
      assertEquals(first.code, 0, first.stderr);
      const operations = (await Deno.readTextFile(log)).trimEnd().split("\n");
      assert(operations.length > 60, `only ${operations.length} operations`);

      const isAll = Deno.args[0] === "all";
      const every = Number(Deno.args[1] ?? 1);
      const kinds = new Set<string>();
      const cases: Attack[] = [];
      for (const [index, operation] of operations.entries()) {
        const kind = operation.replace(/^\d+ /, "").replace(/(tmp|step)-[\d-]+/, "$1");
        if (!isAll && kinds.has(kind)) continue;
        kinds.add(kind);
        if (index % every !== 0) continue;
        const at = index + 1;
        const chosen = ends[cases.length % ends.length]!;
        if (!isAll) cases.push({ at, what: chosen, isSlow: false });
        else {
          cases.push(...ends.map((what) => ({ at, what, isSlow: false })));
          cases.push({ at, what: ends[index % ends.length]!, isSlow: true });
        }
      }
      const codes: Record<number, number> = {};
      const faults: string[] = [];
      const start = performance.now();
      const next = cases.values();
      const worker = async () => {
        for (const each of next) {
          const run = `${folder}/run-${Object.values(each).join("-")}`;
          const { code, faults: found } = await attack(library, run, undisturbed, each);
          codes[code] = (codes[code] ?? 0) + 1;
          const operation = operations[each.at - 1]!.replace(undisturbed, "RUN");
          const how = `${each.what}${each.isSlow ? ", slow" : ""} at ${operation}`;
          faults.push(...found.map((fault) => `${how}: ${fault}`));
          await Deno.remove(run, { recursive: true });
        }
      };
      await Promise.all(Array.from({ length: together }, worker));
      console.log(
        `${cases.length} failures and kills in ${operations.length} operations of a run, ` +
          `${Math.round((performance.now() - start) / 1000)} s: ` +
          `${codes[2] ?? 0} ended in a sentence, ${codes[137] ?? 0} in a kill, ` +
          `${codes[0] ?? 0} did not matter`,
      );
      assertEquals(faults, []);
    }),
});
