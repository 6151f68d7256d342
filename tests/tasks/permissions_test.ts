import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { cifarLayouts } from "../../lib/data/cifar.ts";
import { hubUrl } from "../../lib/foreign/hub.ts";
import { places } from "../../lib/distributed/libraries.ts";
import { hostOf, widerArguments } from "../../tasks/permissions.ts";
import { cifarEntries, inFolder, listing, tarGz } from "../data/fixtures.ts";
import { assertRefused, projectRoot, type TaskResult } from "./run_task.ts";

const document = await Deno.readTextFile(new URL("../../docs/permissions.md", import.meta.url));
const columns = ["read", "write", "net", "env", "sys", "ffi"];

/** What `--allow-…` flags grant, as the table has it. */
function grantsOf(command: string): string[] {
  const flags = Object.fromEntries(
    [...command.matchAll(/--allow-(\w+)(?:=(\S+))?/g)].map((
      [, name, scope],
    ): [string, string | undefined] => [name!, scope]),
  );
  for (const name of Object.keys(flags)) assert(columns.includes(name), `${command}: ${name}`);
  return columns.map((name) => {
    if (!(name in flags)) return "";
    return flags[name]?.split(",").map((each) => `\`${each}\``).join(", ") ?? "all";
  });
}

Deno.test("the table of docs/permissions.md is that of deno.json", () => {
  const rows = document.split("\n").filter((line) => line.startsWith("| `"))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const tasks = Object.entries(denoJson.tasks)
    .filter(([, { command }]) => command.startsWith("deno run"))
    .map(([name, { command }]) => [`\`${name}\``, ...grantsOf(command)]);
  assertEquals(rows, tasks);
});

Deno.test("one task may load libraries, and those of MPI alone", () => {
  const paths = places.map(({ path }) => path);
  for (const [name, { command }] of Object.entries(denoJson.tasks)) {
    const [, scope] = /--allow-ffi(?:=(\S+))?/.exec(command) ?? [];
    assertEquals(command.includes("--allow-ffi"), name === "train:mpi", name);
    if (name === "train:mpi") assertEquals(scope!.split(","), paths);
  }
});

Deno.test("tasks reach the hosts of the official archives, train the hub's, others this machine", () => {
  const archives = Object.values(cifarLayouts).map(({ url }) => hostOf(url));
  const hub = [hostOf(hubUrl), "*.hf.co:443"];
  for (const [name, { command }] of Object.entries(denoJson.tasks)) {
    const [, scope] = /--allow-net(?:=(\S+))?/.exec(command) ?? [];
    if (!command.startsWith("deno run") || !command.includes("--allow-net")) continue;
    // Pages are shown to this machine alone.
    const others = scope!.split(",").filter((host) => host !== "127.0.0.1");
    const hosts = new Set(name === "train" ? [...archives, ...hub] : archives);
    if (others.length > 0) assertEquals(new Set(others), hosts, command);
  }
});

Deno.test("the host of a URL has its port, and what is no URL of HTTP has none", () => {
  assertEquals(hostOf("https://a:b@h.org/x"), "h.org:443");
  assertEquals(hostOf("HTTP://h.org"), "h.org:80");
  assertEquals(hostOf("http://[::1]:8080/"), "[::1]:8080");
  for (const none of [undefined, "x.tar.gz", "http://", "file:///x"]) {
    assertEquals(hostOf(none), undefined);
  }
});

Deno.test("a comma within a folder's name is written twice, as Deno wants it", () => {
  const widened = widerArguments("data", { write: ["/a,b"], net: ["h:1"] });
  assert(widened.includes("--allow-write=data,/a,,b"), widened.join(" "));
  assert(widened.includes("--allow-net=www.cs.toronto.edu:443,h:1"), widened.join(" "));
  assert(widerArguments("export", { write: ["/a"] }).includes("--allow-write"));
});

async function deno(args: readonly string[]): Promise<TaskResult> {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: [...args],
    cwd: projectRoot,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("a folder elsewhere is refused with a command, and that command may write there", () =>
  inFolder(async (folder) => {
    const archive = `${folder}/few.tar.gz`;
    await Deno.writeFile(archive, await tarGz(cifarEntries("cifar10")));
    const args = ["--dataset", "cifar10", "--data", archive, "--md5", "none"];
    const refused = await deno(["task", "data", ...args, "--root", `${folder}/data`]);
    assertRefused(refused, `--root ${folder}/data`, "allow it with: deno run --allow-read");
    assertEquals(await listing(folder), ["few.tar.gz"]);
    const named = refused.stderr.trimEnd().split("allow it with: deno ")[1]!.split(" ");
    const allowed = await deno(named);
    assertEquals(allowed.code, 0, allowed.stderr);
    assertStringIncludes(allowed.stdout, "15 train and 2 test records");
  }));

Deno.test("train refuses a run elsewhere before anything is made", () =>
  inFolder(async (folder) => {
    for (const [option, path] of [["--out", `${folder}/run`], ["--resume", folder]] as const) {
      const result = await deno(["task", "train", "--dataset", "shapes", option, path]);
      assertRefused(result, `${option} ${path} is outside`, `,${path} '--allow-net=`);
    }
    assertEquals(await listing(folder), []);
  }));

for (const task of ["train", "eval", "data", "patches"]) {
  Deno.test(`${task} refuses a URL of another host, without its secrets`, () =>
    inFolder(async (folder) => {
      const url = "https://me:secret@example.org/x.tar.gz?key=hidden";
      const run = task === "eval" ? [folder] : [];
      const result = await deno(["task", "--quiet", task, ...run, "--data", url]);
      assertRefused(result, "https://example.org/x.tar.gz", ",example.org:443");
      assert(!/secret|hidden/.test(result.stderr), result.stderr);
    }));
}
