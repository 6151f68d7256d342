import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as ort from "onnxruntime-web/wasm";
import { storedConfig, type ViTConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { encodeOnnx } from "../../lib/export/onnx.ts";
import { forEachBackend } from "../backends.ts";
import { logitsOf, modelOf, smallConfig, someImages, somePortable } from "./models.ts";

ort.env.wasm.numThreads = 1;
// Otherwise it tells of every constant that it folds.
ort.env.logLevel = "error";

async function runtimeLogits(file: Uint8Array, config: ViTConfig, count: number) {
  const session = await ort.InferenceSession.create(file);
  try {
    const { imageSize, channels } = config;
    const images = someImages(config, count);
    const shape = [count, imageSize, imageSize, channels];
    const { logits } = await session.run({ images: new ort.Tensor("float32", images, shape) });
    assertEquals(logits!.dims, [count, config.numClasses]);
    return logits!.data as Float32Array;
  } finally {
    await session.release();
  }
}

const variants: Record<string, Partial<ViTConfig>> = {
  "mean pooling": { pooling: "mean" },
  "flatten and an MLP head": { pooling: "flatten", mlpHeadUnits: [11, 9] },
  "a class token": { pooling: "token" },
  "a class token and an MLP head": { pooling: "token", mlpHeadUnits: [11] },
  "convolutions, sequence pooling, one GELU": {
    ...{ tokenizer: "conv", convChannels: [5, 8], pooling: "sequence", mlpLastActivation: false },
  },
  "convolutions to an odd side, a class token, fixed positions": {
    ...{ imageSize: 9, tokenizer: "conv", convChannels: [8], pooling: "token", channels: 1 },
    positionEmbedding: "sincos2d",
  },
  "patches without positions": { positionEmbedding: "none" },
  "shifted patches, local attention, LayerScale": {
    ...{ tokenizer: "shifted", localityAttention: true, layerScale: 0.1, pooling: "token" },
  },
  "two heads, GELU by tanh, no biases of queries": {
    ...{ pooling: "token", distillation: "heads", gelu: "tanh", qkvBias: false },
    mlpLastActivation: false,
  },
  "a class token that the mean leaves out, the norm after it": {
    ...{ classToken: true, finalNorm: "pooled" },
  },
  "shifted patches of an odd side, gray": { tokenizer: "shifted", patchSize: 3, channels: 1 },
  "one patch, gray, one head": { patchSize: 12, channels: 1, numHeads: 1 },
};
for (const [name, changes] of Object.entries(variants)) {
  forEachBackend(`ONNX with ${name} gives the model's logits`, async () => {
    const portable = somePortable(smallConfig(changes));
    const { config } = portable;
    const file = encodeOnnx(portable);
    const model = modelOf(portable);
    // The batch is symbolic, so one file takes both.
    for (const count of [1, 3]) {
      const expected = await logitsOf(model, config, count);
      const found = await runtimeLogits(file, config, count);
      assert(Math.max(...expected.map(Math.abs)) > 0.1, "the logits tell nothing");
      expected.forEach((logit, i) => assertAlmostEquals(found[i]!, logit, 1e-4));
    }
    model.dispose();
  }, { backends: ["wasm", "cpu"] });
}

Deno.test("ONNX carries configuration, class names and preprocessing", () => {
  const portable = somePortable(smallConfig());
  const text = new TextDecoder().decode(encodeOnnx(portable, { version: "1.2.3" }));
  const { classNames, preprocessing } = portable;
  const metadata = { config: storedConfig(portable.config), classNames, preprocessing };
  for (const [key, value] of Object.entries(metadata)) {
    assert(text.includes(key) && text.includes(JSON.stringify(value)), key);
  }
  assert(text.includes("deno-vit") && text.includes("1.2.3"));
});

Deno.test("ONNX of the same model is the same file", () => {
  const portable = somePortable(smallConfig());
  assertEquals(encodeOnnx(portable), encodeOnnx(portable));
});

Deno.test("ONNX of incomplete weights is refused", () => {
  const portable = somePortable(smallConfig());
  const weights = new Map(portable.weights);
  weights.delete("norm.beta");
  assertThrows(() => encodeOnnx({ ...portable, weights }), UserError, "norm.beta is missing");
});
