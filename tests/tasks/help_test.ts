import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { runTask } from "./run_task.ts";

/** A default that the help of a task must show. */
const defaults: Record<string, string> = {
  train: "(keras-cifar100: 256)",
  eval: '(default: "best")',
  predict: '(default: "auto")',
  report: '(default: "auto")',
  serve: '(default: "8420")',
  patches: '(default: "patches.png")',
  export: '(default: "best")',
  data: 'default: "cifar100")',
  doctor: '(default: "data")',
};

for (const [name, text] of Object.entries(defaults)) {
  Deno.test(`${name} --help shows options and defaults`, async () => {
    const { code, stdout, stderr } = await runTask(name, ["--help"]);
    assertEquals(code, 0, stderr);
    assertStringIncludes(stdout, `Usage: deno task ${name}`);
    assertStringIncludes(stdout, text);
    assert(stdout.split("\n").every((line) => line.length <= 100), "a line is too long");
  });
}

Deno.test("every task has its own permissions and none has all", () => {
  for (const [name, { command }] of Object.entries(denoJson.tasks)) {
    assert(!/(^| )(-A|--allow-all)( |$)/.test(command), `${name}: ${command}`);
    if (command.startsWith("deno run")) assertStringIncludes(command, "--allow-read");
  }
});
