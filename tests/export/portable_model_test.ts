import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  encodeSafetensors,
  readSafetensorsFile,
  type TensorData,
} from "../../lib/checkpoint/safetensors.ts";
import { UserError } from "../../lib/errors.ts";
import {
  loadPlainWeights,
  type PortableModel,
  savePlainWeights,
} from "../../lib/export/portable_model.ts";
import { namedVariables } from "../../lib/models/vit_classifier.ts";
import { readVariables } from "../../lib/train/weights.ts";
import { forEachBackend } from "../backends.ts";
import { storedConfig } from "../../lib/config/run.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { logitsOf, modelOf, smallConfig, somePortable } from "./models.ts";

forEachBackend(
  "exported weights come back to the last bit, and give the same logits",
  () =>
    inFolder(async (folder) => {
      const portable = somePortable(smallConfig({
        ...{ tokenizer: "conv", convChannels: [5, 8], positionEmbedding: "sincos2d" },
        ...{ pooling: "sequence", mlpHeadUnits: [11], initializer: "truncatedNormal" },
      }));
      const model = modelOf(portable);
      const path = `${folder}/weights.safetensors`;
      const weights = await readVariables(namedVariables(model));
      await savePlainWeights(path, { ...portable, weights });
      const back = await loadPlainWeights(path);
      assertEquals(back, portable);
      const again = modelOf(back);
      const { config } = portable;
      assertEquals(await logitsOf(again, config, 3), await logitsOf(model, config, 3));
      for (const each of [model, again]) each.dispose();
    }),
  { backends: ["wasm", "cpu"] },
);

Deno.test("an exported file is plain safetensors: weights by name, strings in the metadata", () =>
  inFolder(async (folder) => {
    const portable = somePortable(smallConfig());
    const path = `${folder}/weights.safetensors`;
    await savePlainWeights(path, portable);
    const { metadata, tensors } = await readSafetensorsFile(path);
    assertEquals(Object.keys(metadata).sort(), [
      "classNames",
      "config",
      "format",
      "preprocessing",
    ]);
    assertEquals(JSON.parse(metadata.config!), storedConfig(portable.config));
    assertEquals([...tensors.keys()], [...portable.weights.keys()]);
    assertEquals(tensors.get("norm.gamma")!.dtype, "F32");
  }));

type Change = (tensors: Map<string, TensorData>, metadata: Record<string, string>) => void;
const half = { dtype: "F16", shape: [8], data: new Uint16Array(8) } as const;
const single = { dtype: "F32", shape: [4], data: new Float32Array(4) } as const;
const refused: Record<string, [Change, message: string]> = {
  "a foreign format": [(_, m) => m.format = "pt", 'its format is "pt"'],
  "no format": [(_, m) => delete m.format, 'its format is "unnamed"'],
  "no configuration": [(_, m) => delete m.config, "metadata config is missing"],
  "a configuration that is no JSON": [(_, m) => m.config = "{", "metadata config"],
  "an unknown field": [(_, m) => m.config = '{"widht":1}', 'Unknown configuration key "widht"'],
  "class names that are numbers": [(_, m) => m.classNames = "[1]", "metadata classNames"],
  "no preprocessing": [(_, m) => delete m.preprocessing, "metadata preprocessing"],
  "a weight less": [(t) => t.delete("norm.beta"), "norm.beta is missing"],
  "a weight more": [(t) => t.set("extra", single), 'no weight "extra"'],
  "a weight of another shape": [(t) => t.set("norm.beta", single), "has the shape [4]"],
  "a weight of another dtype": [(t) => t.set("norm.beta", half), "norm.beta as F16"],
};
for (const [name, [change, message]] of Object.entries(refused)) {
  Deno.test(`exported weights are refused with ${name}`, () =>
    inFolder(async (folder) => {
      const path = `${folder}/weights.safetensors`;
      await savePlainWeights(path, somePortable(smallConfig()));
      const { metadata, tensors } = await readSafetensorsFile(path);
      change(tensors, metadata);
      await Deno.writeFile(path, encodeSafetensors(tensors, metadata));
      const error = await assertRejects(() => loadPlainWeights(path), UserError, message);
      assertStringIncludes(error.message, path);
    }));
}

Deno.test("a configuration that claims a giant model is refused by the file's header", () =>
  inFolder(async (folder) => {
    const path = `${folder}/weights.safetensors`;
    const small = somePortable(smallConfig());
    await savePlainWeights(path, small);
    const { metadata, tensors } = await readSafetensorsFile(path);
    metadata.config = JSON.stringify({ ...small.config, numClasses: 2 ** 20 });
    await Deno.writeFile(path, encodeSafetensors(tensors, metadata));
    await assertRejects(() => loadPlainWeights(path), UserError, "[8,1048576] is needed");
  }));

Deno.test("weights that are not the configuration's are not saved", () =>
  inFolder(async (folder) => {
    const model: PortableModel = { ...somePortable(smallConfig()), weights: new Map() };
    await assertRejects(
      () => savePlainWeights(`${folder}/weights.safetensors`, model),
      UserError,
      "patch_encoder.projection.kernel is missing",
    );
  }));
