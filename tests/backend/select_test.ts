import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { type BackendFacts, chooseBackend, selectBackendOfRun } from "../../lib/backend/select.ts";
import { UserError } from "../../lib/errors.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

const hardware = { description: "Card 9", isSoftware: false };
const software = { description: "llvmpipe", isSoftware: true };
const wasmProblem = "no file";

/** Wanted, facts, and the reason expected: it begins with the backend's name. */
const decisions: [string, Partial<BackendFacts>, RegExp][] = [
  ["auto", { adapter: hardware }, /^webgpu: on Card 9$/],
  ["auto", { adapter: hardware, wasmProblem }, /^webgpu: on Card 9$/],
  ["auto", { adapter: software }, /^wasm: .*llvmpipe \(software\), slower than wasm/],
  ["auto", { adapter: software, webgpuProblem: "refused" }, /^wasm: refused$/],
  ["auto", {}, /^wasm: there is no WebGPU adapter$/],
  ["auto", { adapter: hardware, webgpuProblem: "refused" }, /^wasm: refused$/],
  ["auto", { adapter: software, wasmProblem }, /^webgpu: on llvmpipe \(software\), .*no file$/],
  ["auto", { wasmProblem }, /^cpu: there is no WebGPU adapter, .*no file$/],
  ["auto", { adapter: software, webgpuProblem: "refused", wasmProblem }, /^cpu: refused, .*file$/],
  ["webgpu", { adapter: hardware }, /^webgpu: as demanded, on Card 9$/],
  ["webgpu", { adapter: software }, /^webgpu: as demanded, on llvmpipe \(software\)$/],
  ["wasm", { adapter: hardware }, /^wasm: as demanded/],
  ["cpu", { adapter: hardware, wasmProblem }, /^cpu: as demanded/],
];

for (const [wanted, facts, reason] of decisions) {
  Deno.test(`${wanted} with ${JSON.stringify(facts)}`, () => {
    const decision = chooseBackend(wanted, facts);
    assertMatch(decision.reason, reason);
    assertEquals(decision.name, decision.reason.split(":")[0]);
  });
}

Deno.test("webgpu demanded without an adapter says what to install", () => {
  assertThrows(
    () => chooseBackend("webgpu", {}),
    UserError,
    "apt-get install mesa-vulkan-drivers libvulkan1",
  );
});

Deno.test("webgpu demanded says why a device was refused", () => {
  assertThrows(
    () =>
      chooseBackend("webgpu", {
        adapter: hardware,
        webgpuProblem: "out of memory",
      }),
    UserError,
    "out of memory",
  );
});

Deno.test("wasm demanded says why it cannot start", () => {
  assertThrows(() => chooseBackend("wasm", { wasmProblem }), UserError, wasmProblem);
});

Deno.test("an unknown backend is named, with the known ones", () => {
  assertThrows(
    () => chooseBackend("webgl", {}),
    UserError,
    'Unknown backend "webgl"; take one of auto, webgpu, wasm, cpu.',
  );
});

forEachBackend("the demanded backend computes", async (backendName) => {
  assertEquals(tf.getBackend(), backendName);
  const sum = tf.tidy(() => tf.matMul(tf.ones([4, 8]), tf.ones([8, 2])).sum());
  assertEquals((await sum.data())[0], 64);
  sum.dispose();
});

/** Wanted, what the run was computed on, the backend expected, and the notice. */
const resumptions: [string, { backend: string; adapter?: string } | undefined, string, RegExp?][] =
  [
    ["cpu", undefined, "cpu"],
    ["auto", { backend: "cpu" }, "cpu"],
    ["auto", { backend: "wasm" }, "wasm", /on wasm so far and goes on on wasm \(SIMD/],
    ["cpu", { backend: "wasm" }, "cpu", /computed on wasm so far and goes on on cpu, which rounds/],
    [
      "auto",
      { backend: "webgpu", adapter: "Card 9" },
      "",
      /on webgpu \(Card 9\) so far and goes on/,
    ],
    ["auto", { backend: "webgl" }, "", /on webgl so far and goes on/],
  ];

for (const [wanted, before, expected, notice] of resumptions) {
  Deno.test(`${wanted} for a run computed on ${JSON.stringify(before)}`, async () => {
    const notices: string[] = [];
    const { name } = await selectBackendOfRun(wanted, before, (text) => notices.push(text));
    if (expected) assertEquals(name, expected);
    assertEquals(tf.getBackend(), name);
    assertEquals(notices.length, notice ? 1 : 0);
    if (notice) assertMatch(notices[0]!, notice);
  });
}
