import { assert, assertEquals, assertRejects } from "@std/assert";
import { encodeSealed, readSealedFile } from "../../lib/checkpoint/checksums.ts";
import { readSafetensorsFile, type TensorData } from "../../lib/checkpoint/safetensors.ts";
import {
  hashConfig,
  loadState,
  loadWeights,
  saveState,
  saveWeights,
  verifyState,
} from "../../lib/checkpoint/state.ts";
import { writeFileAtomic } from "../../lib/files.ts";
import { preset } from "../../lib/config/presets.ts";
import { storedConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder, names } from "./folder.ts";
import { floats, stateAt } from "./states_of_runs.ts";

const someState = () => stateAt(1234);

Deno.test("a state comes back to the last bit", () =>
  inFolder(async (folder) => {
    const state = someState();
    state.weights.get("blocks.0.attention.query.bias")!.data.set([
      -0,
      1e-45,
      3.4028234663852886e38,
      -1,
    ]);
    await saveState(`${folder}/last.safetensors`, state);
    const { configHash, ...back } = await loadState(`${folder}/last.safetensors`);
    assertEquals(back, state);
    for (const [name, { data }] of state.weights) {
      // The bits, since -0 equals 0.
      assertEquals(
        new Uint32Array(back.weights.get(name)!.data.buffer),
        new Uint32Array(data.buffer),
      );
    }
    assertEquals(configHash, await hashConfig(storedConfig(state.config)));
    assertEquals(await verifyState(`${folder}/last.safetensors`), state.step);
    assertEquals(await names(folder), ["last.safetensors"]);
  }));

Deno.test("the same state gives the same file", () =>
  inFolder(async (folder) => {
    await saveState(`${folder}/a`, someState());
    await saveState(`${folder}/b`, someState());
    assertEquals(await Deno.readFile(`${folder}/a`), await Deno.readFile(`${folder}/b`));
  }));

Deno.test("weights keep plain names, moments follow under optimizer", () =>
  inFolder(async (folder) => {
    await saveState(`${folder}/a`, someState());
    const { tensors } = await readSafetensorsFile(`${folder}/a`);
    const weightNames = [...floats(0).keys()];
    assertEquals(
      [...tensors.keys()].sort(),
      [
        ...weightNames,
        ...weightNames.map((name) => `optimizer.m.${name}`),
        ...weightNames.map((name) => `optimizer.v.${name}`),
      ].sort(),
    );
  }));

Deno.test("weights load from a state and from a file of weights, a state only from a state", () =>
  inFolder(async (folder) => {
    const state = someState();
    await saveState(`${folder}/last`, state);
    await saveWeights(`${folder}/best`, state);
    const fromState = await loadWeights(`${folder}/last`);
    assertEquals(fromState, await loadWeights(`${folder}/best`));
    assertEquals(fromState.weights, state.weights);
    assertEquals(fromState.classNames, state.classNames);
    await assertRejects(() => loadState(`${folder}/best`), UserError, "weights only");
  }));

Deno.test("loading weights reads no moments, so damage to these does not matter", () =>
  inFolder(async (folder) => {
    await saveState(`${folder}/a`, someState());
    const bytes = await Deno.readFile(`${folder}/a`);
    bytes[bytes.length - 1]! ^= 1;
    await Deno.writeFile(`${folder}/a`, bytes);
    await loadWeights(`${folder}/a`);
    await assertRejects(() => loadState(`${folder}/a`), UserError, "optimizer.v.");
    await assertRejects(() => verifyState(`${folder}/a`), UserError, "optimizer.v.");
  }));

Deno.test("a moment without a weight of its shape is not saved", () =>
  inFolder(async (folder) => {
    const other = new Map([["other", { shape: [1], data: new Float32Array(1) }]]);
    const save = () => saveState(`${folder}/a`, { ...someState(), moments1: other });
    await assertRejects(save, RangeError, "optimizer.m.other");
    assertEquals(await names(folder), []);
  }));

/** Saves a state, changes its metadata or tensors, and seals it again. */
async function altered(
  path: string,
  change: (metadata: Record<string, string>, tensors: Map<string, TensorData>) => void,
): Promise<void> {
  await saveState(path, someState());
  const { metadata, tensors } = await readSealedFile(path);
  const plain = Object.fromEntries(
    Object.entries(metadata).filter(([key]) => !key.startsWith("sha256")),
  );
  change(plain, tensors);
  await writeFileAtomic(path, await encodeSealed(tensors, plain));
}

const wrong: Record<string, Parameters<typeof altered>[1]> = {
  "another format": (metadata) => metadata.format = "deno-vit/99",
  "no format": (metadata) => delete metadata.format,
  "another kind": (metadata) => metadata.kind = "optimizer",
  "no config": (metadata) => delete metadata.config,
  "config not JSON": (metadata) => metadata.config = "{",
  "config a nesting bomb": (metadata) => metadata.config = "[".repeat(100_000),
  "config of two megabytes": (metadata) => metadata.config = `"${"x".repeat(2e6)}"`,
  "config with an unknown key": (metadata) =>
    metadata.config = metadata.config!.replace("patchSize", "patchsize"),
  "config that its hash does not fit": (metadata) =>
    metadata.config = metadata.config!.replace('"epochs":5', '"epochs":6'),
  "no progress": (metadata) => delete metadata.progress,
  "negative step": (metadata) =>
    metadata.progress = metadata.progress!.replace('"step":1234', '"step":-1'),
  "step not a number": (metadata) =>
    metadata.progress = metadata.progress!.replace('"step":1234', '"step":"1234"'),
  "weight of another dtype": (_, tensors) =>
    tensors.set("norm.gamma", { dtype: "I32", shape: [1], data: new Int32Array(1) }),
  "moment without a weight": (_, tensors) =>
    tensors.set("optimizer.m.x", { dtype: "F32", shape: [1], data: new Float32Array(1) }),
};

for (const [name, change] of Object.entries(wrong)) {
  Deno.test(`a sealed file is still refused for: ${name}`, () =>
    inFolder(async (folder) => {
      const path = `${folder}/a.safetensors`;
      await altered(path, change);
      const error = await assertRejects(() => loadState(path), UserError);
      assert(error.message.includes(path), error.message);
    }));
}

Deno.test("foreign files and no files are refused", () =>
  inFolder(async (folder) => {
    const golden = new URL("../golden/small-mean.safetensors", import.meta.url).pathname;
    for (const load of [loadState, loadWeights]) {
      await assertRejects(() => load(golden), UserError, "no checkpoint of this project");
      await assertRejects(() => load(`${folder}/none`), UserError, "no such file");
      await Deno.writeTextFile(`${folder}/text`, "PK\x03\x04 something else");
      await assertRejects(() => load(`${folder}/text`), UserError, "not a valid safetensors");
    }
  }));

Deno.test("the hash of a configuration does not hang on the order of its keys", async () => {
  const config = preset("tiny");
  const reversed = Object.fromEntries(Object.entries(config).reverse()) as typeof config;
  assertEquals(await hashConfig(config), await hashConfig(reversed));
  assert(await hashConfig(config) !== await hashConfig({ ...config, seed: 2 }));
});
