import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { assertRefused, jsonLines, runTask, runTaskWell, withoutAdapter } from "./run_task.ts";

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
  assertEquals(report.precisions, report.gpu?.features["shader-f16"] ? ["f32", "f16"] : ["f32"]);
  assertStringIncludes(report.advice.join(), "deno task data --dataset cifar100");
});

Deno.test("doctor with an unknown option exits 2 and names it", async () => {
  assertRefused(await runTask("doctor", ["--jsn"]), "--jsn");
});

Deno.test("doctor --model shows the layers of a preset and of a run, and names the nearest preset", async () => {
  const released = "tests/released/0.1.0";
  for (const [name, parameters] of [["tiny", "147,748"], [released, ""]] as const) {
    const stdout = await runTaskWell("doctor", ["--model", name]);
    assertStringIncludes(stdout, "blocks.0.attention (VitMultiHe");
    assertStringIncludes(stdout, `${parameters} parameters in`);
    assertStringIncludes(stdout, " images needs ");
  }
  const [object] = jsonLines(
    (await runTaskWell("doctor", ["--model", "tiny", "--json"])).replaceAll("\n", ""),
  );
  assert(object.memory.total > 12 * object.parameters);
  assertEquals([object.parameters, object.weights["classifier.kernel"]], [147_748, [64, 100]]);
  assertRefused(await runTask("doctor", ["--model", "tinny"]), '"tinny"', '"tiny"');
});
