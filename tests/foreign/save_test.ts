/** What goes out in a foreign layout comes back, and what came in goes out byte for byte. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { readSafetensorsFile } from "../../lib/checkpoint/safetensors.ts";
import { UserError } from "../../lib/errors.ts";
import { type LayoutName, layouts } from "../../lib/foreign/layouts.ts";
import { findForeign, loadForeign, portableOf } from "../../lib/foreign/load.ts";
import { saveForeign } from "../../lib/foreign/save.ts";
import { parseViTConfig, type ViTConfig } from "../../lib/config/model.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { smallConfig, somePortable } from "../export/models.ts";
import { goldenFolder, goldenLayouts, type GoldenName } from "./golden.ts";

const load = async (path: string) => await loadForeign((await findForeign(path))!);

for (const [name, layout] of Object.entries(goldenLayouts) as [GoldenName, LayoutName][]) {
  Deno.test(`${name}: read and written again, every tensor has its bytes, and so has the next copy`, () =>
    inFolder(async (folder) => {
      const model = await load(goldenFolder(name));
      await saveForeign(`${folder}/a`, portableOf(model), layout);
      const [before, after] = await Promise.all(
        [goldenFolder(name), `${folder}/a`]
          .map((path) => readSafetensorsFile(`${path}/model.safetensors`)),
      );
      assertEquals(new Set(after!.tensors.keys()), new Set(before!.tensors.keys()));
      for (const [key, tensor] of before!.tensors) assertEquals(after!.tensors.get(key), tensor);
      assertEquals(after!.metadata.format, "pt");

      const again = await load(`${folder}/a`);
      assertEquals(again.config, model.config);
      assertEquals(again.preparation, model.preparation);
      await saveForeign(`${folder}/b`, portableOf(again), layout);
      for await (const { name: file } of Deno.readDir(`${folder}/a`)) {
        const [a, b] = await Promise.all(
          ["a", "b"].map((each) => Deno.readFile(`${folder}/${each}/${file}`)),
        );
        assertEquals(a, b, file);
      }
    }));
}

/** What of their own configuration files a library looks for, by layout. */
const needed: Partial<Record<GoldenName, string[]>> = {
  timm: ["architecture", "num_classes", "num_features", "model_args", "pretrained_cfg"],
  hf: ["architectures", "model_type", "hidden_size", "layer_norm_eps", "id2label", "label2id"],
  "deit-distilled": ["architecture", "num_classes", "model_args", "pretrained_cfg"],
};

for (const [name, keys] of Object.entries(needed) as [GoldenName, string[]][]) {
  Deno.test(`${name}: config.json says again what the library's own said`, () =>
    inFolder(async (folder) => {
      const model = await load(goldenFolder(name));
      const portable = portableOf(model);
      await saveForeign(folder, portable, goldenLayouts[name]);
      const read = async (path: string) =>
        JSON.parse(await Deno.readTextFile(`${path}/config.json`));
      const [theirs, ours] = [await read(goldenFolder(name)), await read(folder)];
      for (const key of keys) {
        // The test's own architectures are of no library.
        if (key === "architecture") continue;
        const [wanted, found] = [theirs[key], ours[key]];
        if (typeof wanted === "object" && !Array.isArray(wanted)) {
          for (const inner of Object.keys(wanted)) {
            assertEquals(found[inner], wanted[inner], `${key}.${inner}`);
          }
        } else assertEquals(found, wanted, key);
      }
    }));
}

/** A model that all layouts have a place for, and what else each has. */
const plain: Partial<ViTConfig> = {
  ...{ pooling: "token", keyDim: 4, mlpLastActivation: false, initializer: "truncatedNormal" },
  ...{ attentionDropout: 0, mlpDropout: 0, headDropout: 0 },
};
const accepted: Record<LayoutName, Partial<ViTConfig>[]> = {
  timm: [{}, { pooling: "mean", finalNorm: "pooled" }, { pooling: "mean", classToken: true }, {
    ...{ distillation: "heads", layerScale: 0.1, gelu: "tanh", qkvBias: false },
  }],
  hf: [{}, { distillation: "token" }, { distillation: "heads", gelu: "tanh" }, {
    ...{ qkvBias: false, layerNormEpsilon: 1e-5 },
  }],
  torchvision: [{}],
};
for (const [layout, list] of Object.entries(accepted) as [LayoutName, Partial<ViTConfig>[]][]) {
  for (const changes of list) {
    Deno.test(`${layout} ${JSON.stringify(changes)} comes back as it went`, () =>
      inFolder(async (folder) => {
        const config = smallConfig({ ...plain, ...changes });
        const model = somePortable(config);
        await saveForeign(folder, model, layout);
        const found = await load(folder);
        assertEquals(found.layout, layout);
        assertEquals(parseViTConfig(found.config), config);
        assertEquals([...found.weights.keys()].sort(), [...model.weights.keys()].sort());
        for (const [name, weight] of model.weights) assertEquals(found.weights.get(name), weight);
        assertEquals(found.classNames, ["ant", "bee", "cow", "dog", "elk", "class 5"]);
        const { channelMean } = found.preparation;
        channelMean.forEach((value, c) =>
          assert(Math.abs(value * 255 - model.preprocessing.mean[c]!) < 1e-5)
        );
      }));
  }
}

const refused: [LayoutName, Partial<ViTConfig>, string][] = [
  ["hf", { pooling: "mean" }, "pooling mean"],
  ["hf", { layerScale: 0.1 }, "layerScale"],
  ["torchvision", { gelu: "tanh" }, "GELU by tanh"],
  ["torchvision", { distillation: "heads" }, "a distillation token"],
  ["timm", { distillation: "token" }, "without a classifier of its own"],
  ["timm", { layerNormEpsilon: 1e-3 }, "layerNormEpsilon 0.001"],
  ["timm", { localityAttention: true }, "localityAttention"],
  ["hf", { mlpHeadUnits: [7] }, "mlpHeadUnits"],
  ["hf", { keyDim: 5 }, "2 heads of 5 numbers"],
  ["timm", { mlpLastActivation: true }, "mlpLastActivation"],
  ["hf", { positionEmbedding: "sincos2d" }, "positionEmbedding sincos2d"],
];
for (const [layout, changes, text] of refused) {
  Deno.test(`${layout} has no place for ${text}`, () =>
    inFolder(async (folder) => {
      const model = somePortable(smallConfig({ ...plain, ...changes }));
      const error = await assertRejects(
        () => saveForeign(`${folder}/out`, model, layout),
        UserError,
        text,
      );
      assertStringIncludes(error.message, layouts[layout].title);
      assertEquals(await Array.fromAsync(Deno.readDir(folder)), []);
    }));
}
