import { assert, assertEquals, assertStringIncludes } from "@std/assert";

const task = new URL("../../tasks/doctor.ts", import.meta.url).pathname;

/** Runs the task with the permissions of `deno task doctor`. */
async function doctor(args: string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-read",
      "--allow-sys=systemMemoryInfo",
      "--allow-env=CLICOLOR_FORCE",
      task,
      ...args,
    ],
    env,
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** No system has both, so wgpu finds no adapter. */
const noAdapter = { DENO_WEBGPU_BACKEND: Deno.build.os === "darwin" ? "dx12" : "metal" };

Deno.test("doctor without an adapter says what to install, and exits 0", async () => {
  const { code, stdout, stderr } = await doctor([], noAdapter);
  assertEquals(code, 0, stderr);
  assertStringIncludes(stdout, "apt-get install mesa-vulkan-drivers libvulkan1");
  assertStringIncludes(stdout, "wasm: there is no WebGPU adapter");
});

Deno.test("doctor --json prints one object with the choice of auto", async () => {
  const { code, stdout, stderr } = await doctor(["--json", "--root", "no-such-folder"]);
  assertEquals(code, 0, stderr);
  const report = JSON.parse(stdout);
  assert(["webgpu", "wasm", "cpu"].includes(report.backend.name), stdout);
  assertEquals(report.data, { cifar100: [], cifar10: [] });
  assertEquals(report.versions.deno, Deno.version.deno);
  assertStringIncludes(report.advice.join(), "deno task data --dataset cifar100");
});

Deno.test("doctor with an unknown option exits 2 and names it", async () => {
  const { code, stderr } = await doctor(["--jsn"]);
  assertEquals(code, 2);
  assertStringIncludes(stderr, "--jsn");
});
