import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { assertRefused, runTask, withoutAdapter } from "./run_task.ts";

Deno.test("doctor without an adapter says what to install, and exits 0", async () => {
  const { code, stdout, stderr } = await runTask("doctor", [], withoutAdapter);
  assertEquals(code, 0, stderr);
  assertStringIncludes(stdout, "apt-get install mesa-vulkan-drivers libvulkan1");
  assertStringIncludes(stdout, "wasm: there is no WebGPU adapter");
});

Deno.test("doctor --json prints one object with the choice of auto", async () => {
  const { code, stdout, stderr } = await runTask("doctor", ["--json", "--root", "no-such-folder"]);
  assertEquals(code, 0, stderr);
  const report = JSON.parse(stdout);
  assert(["webgpu", "wasm", "cpu"].includes(report.backend.name), stdout);
  assertEquals(report.data, { cifar100: [], cifar10: [] });
  assertEquals(report.versions.deno, Deno.version.deno);
  assertStringIncludes(report.advice.join(), "deno task data --dataset cifar100");
});

Deno.test("doctor with an unknown option exits 2 and names it", async () => {
  assertRefused(await runTask("doctor", ["--jsn"]), "--jsn");
});
