import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { ViTConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { fileHandler } from "../../lib/export/file_handler.ts";
import { portableMetadata } from "../../lib/export/portable_model.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder, names } from "../checkpoint/folder.ts";
import { logitsOf, modelOf, smallConfig, somePortable } from "./models.ts";

const onHost = { backends: ["wasm", "cpu"] } as const;

const variants: Record<string, Partial<ViTConfig>> = {
  "flatten pooling": { pooling: "flatten" },
  "mean pooling": { pooling: "mean" },
  "token pooling": { pooling: "token" },
  "convolutions, fixed positions, sequence pooling": {
    ...{ tokenizer: "conv", convChannels: [5, 8], positionEmbedding: "sincos2d" },
    ...{ pooling: "sequence", mlpLastActivation: false, initializer: "truncatedNormal" },
  },
};
for (const [name, changes] of Object.entries(variants)) {
  forEachBackend(
    `a model with ${name} comes back through file:// URLs`,
    () =>
      inFolder(async (folder) => {
        const portable = somePortable(smallConfig({ ...changes, mlpHeadUnits: [11] }));
        const model = modelOf(portable);
        model.setUserDefinedMetadata(portableMetadata(portable));
        await model.save(`file://${folder}/a%20model`);
        assertEquals(await names(`${folder}/a model`), ["group1-shard1of1.bin", "model.json"]);
        const back = await tf.loadLayersModel(`file://${folder}/a%20model/model.json`);
        const { config } = portable;
        assertEquals(await logitsOf(back, config, 3), await logitsOf(model, config, 3));
        assertEquals(back.getUserDefinedMetadata(), portableMetadata(portable));
        for (const each of [model, back]) each.dispose();
      }),
    onHost,
  );
}

forEachBackend("a model comes back over http", () =>
  inFolder(async (folder) => {
    const portable = somePortable(smallConfig());
    const model = modelOf(portable);
    await model.save(fileHandler(folder));
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      async (request) =>
        new Response(await Deno.readFile(folder + new URL(request.url).pathname), {
          headers: { "content-type": request.url.endsWith("json") ? "application/json" : "" },
        }),
    );
    const back = await tf.loadLayersModel(`http://127.0.0.1:${server.addr.port}/model.json`);
    await server.shutdown();
    const { config } = portable;
    assertEquals(await logitsOf(back, config, 3), await logitsOf(model, config, 3));
    for (const each of [model, back]) each.dispose();
  }), onHost);

/** A model as tfjs hands it to a handler; nothing looks into its topology. */
function artifacts(data: Float32Array): tf.io.ModelArtifacts {
  return {
    modelTopology: { class_name: "Model" },
    format: "layers-model",
    generatedBy: "a test",
    weightSpecs: [{ name: "w", shape: [data.length], dtype: "float32" }],
    weightData: data.buffer as ArrayBuffer,
  };
}
const numbers = (length: number) => Float32Array.from({ length }, (_, i) => i);

Deno.test("weights over 4 MB take shards of 4 MB, and come back in order", () =>
  inFolder(async (folder) => {
    const data = numbers(2_200_000);
    await fileHandler(folder).save!(artifacts(data));
    const shards = [1, 2, 3].map((i) => `group1-shard${i}of3.bin`);
    assertEquals(await names(folder), [...shards, "model.json"]);
    assertEquals((await Deno.stat(`${folder}/${shards[0]}`)).size, 4 * 1024 * 1024);
    const back = await fileHandler(`${folder}/model.json`).load!();
    const whole = tf.io.concatenateArrayBuffers(back.weightData!);
    assert(new Float32Array(whole).every((value, i) => value === i));
    assertEquals(whole.byteLength, data.byteLength);
    assertEquals(back.weightSpecs, artifacts(data).weightSpecs);
    assertEquals([back.format, back.generatedBy], ["layers-model", "a test"]);
  }));

Deno.test("saving over a larger model leaves none of its shards, and other files alone", () =>
  inFolder(async (folder) => {
    await fileHandler(folder).save!(artifacts(numbers(1_100_000)));
    await Deno.writeTextFile(`${folder}/README.md`, "mine");
    await fileHandler(folder).save!(artifacts(numbers(3)));
    assertEquals(await names(folder), ["README.md", "group1-shard1of1.bin", "model.json"]);
    const back = await fileHandler(folder).load!();
    const whole = tf.io.concatenateArrayBuffers(back.weightData!);
    assertEquals(new Float32Array(whole), numbers(3));
  }));

Deno.test("a folder without a model is a user's error", () =>
  inFolder(async (folder) => {
    await assertRejects(() => fileHandler(folder).load!(), UserError, "no such file");
    await assertRejects(() => fileHandler(`${folder}/none`).load!(), UserError, "no such file");
  }));

interface ModelJson {
  modelTopology?: unknown;
  weightsManifest: {
    paths: string[];
    weights: { name: string; shape: unknown; dtype: string }[];
  }[];
}
const shard = "group1-shard1of1.bin";
const group = (json: ModelJson) => json.weightsManifest[0]!;
const weight = (json: ModelJson) => group(json).weights[0]!;
type Change = (json: ModelJson, folder: string) => unknown;
/** The folder holds three floats in a shard, and `../secret.bin` as many. */
const hostile: Record<string, [Change, message: string]> = {
  "a parent folder": [(json) => group(json).paths = ["../secret.bin"], "not a plain path"],
  "a parent folder inside": [(json) => group(json).paths = [`a/../${shard}`], "not a plain path"],
  "an absolute path": [
    (json, folder) => group(json).paths = [`${folder}/${shard}`],
    "not a plain path",
  ],
  "a URL": [(json) => group(json).paths = ["https://example.com/w"], "not a plain path"],
  "a drive": [(json) => group(json).paths = ["C:secret.bin"], "not a plain path"],
  "backslashes": [(json) => group(json).paths = ["..\\secret.bin"], "not a plain path"],
  "a NUL": [(json) => group(json).paths = [`${shard}\0.png`], "not a plain path"],
  "an empty path": [(json) => group(json).paths = [""], "not a plain path"],
  "a path that is a number": [(json) => group(json).paths = [1 as never], "paths.0 is wrong"],
  "a link that leads out": [
    async (json, folder) => {
      await Deno.symlink(`${folder}/../secret.bin`, `${folder}/link.bin`);
      group(json).paths = ["link.bin"];
    },
    "leads out of its folder",
  ],
  "a linked folder that leads out": [
    async (json, folder) => {
      await Deno.symlink(`${folder}/..`, `${folder}/up`);
      group(json).paths = ["up/secret.bin"];
    },
    "leads out of its folder",
  ],
  "a folder for a shard": [
    async (json, folder) => {
      await Deno.mkdir(`${folder}/shard`);
      group(json).paths = ["shard"];
    },
    "is a folder, not a regular file",
  ],
  "an absent shard": [(json) => group(json).paths = ["group1-shard2of2.bin"], "no such file"],
  "a path twice": [(json) => group(json).paths.push(shard), "comes twice"],
  "a weight twice": [(json) => group(json).weights.push(weight(json)), '"w" comes twice'],
  "a weight too long": [
    (json) => weight(json).shape = [4],
    "take 16 bytes, but their files hold 12",
  ],
  "a weight too short": [(json) => weight(json).shape = [2], "take 8 bytes"],
  "a weight beyond all memory": [
    (json) => weight(json).shape = [2 ** 40, 2 ** 40, 2 ** 40],
    "bytes, but their files hold 12",
  ],
  "a shape that overflows": [
    (json) => weight(json).shape = Array(64).fill(2 ** 50),
    "bytes, but their files hold 12",
  ],
  "a negative shape": [(json) => weight(json).shape = [-3], "shape.0 is wrong"],
  "a shape with a fraction": [(json) => weight(json).shape = [1.5, 2], "shape.0 is wrong"],
  "strings for weights": [(json) => weight(json).dtype = "string", "dtype is wrong"],
  "an unknown dtype": [(json) => weight(json).dtype = "__proto__", "dtype is wrong"],
  "no topology": [(json) => delete json.modelTopology, "modelTopology is wrong"],
  "a truncated shard": [
    (_, folder) => Deno.truncate(`${folder}/${shard}`, 11),
    "take 12 bytes, but their files hold 11",
  ],
};
for (const [name, [change, message]] of Object.entries(hostile)) {
  Deno.test(`a model folder is refused with ${name}`, () =>
    inFolder(async (outer) => {
      const folder = `${outer}/model`;
      await fileHandler(folder).save!(artifacts(numbers(3)));
      await Deno.writeFile(`${outer}/secret.bin`, new Uint8Array(12));
      const path = `${folder}/model.json`;
      const json = JSON.parse(await Deno.readTextFile(path));
      await change(json, folder);
      await Deno.writeTextFile(path, JSON.stringify(json));
      await assertRejects(() => fileHandler(folder).load!(), UserError, message);
    }));
}

const bombs: Record<string, [text: string, message: string]> = {
  "no JSON": ["{", "not valid JSON"],
  "a list": ["[]", "its content is wrong"],
  "a million brackets": ["[".repeat(1_000_000), "not valid JSON"],
  "17 MiB of spaces": [" ".repeat(17 << 20), "no more than 16 MiB is read"],
};
for (const [name, [text, message]] of Object.entries(bombs)) {
  Deno.test(`a model.json is refused that is ${name}`, () =>
    inFolder(async (folder) => {
      await Deno.writeTextFile(`${folder}/model.json`, text);
      const error = await assertRejects(() => fileHandler(folder).load!(), UserError, message);
      assertStringIncludes(error.message, `${folder}/model.json`);
    }));
}
