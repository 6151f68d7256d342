import { assert, assertEquals, assertThrows } from "@std/assert";
import { preset } from "../../lib/config/presets.ts";
import { modelConfigOf, type ViTConfig } from "../../lib/config/run.ts";
import { UserError } from "../../lib/errors.ts";
import { poolings } from "../../lib/layers/poolings.ts";
import type { TokenizerName } from "../../lib/layers/tokenizers.ts";
import { architectureOf, checkWeightShapes } from "../../lib/models/architecture.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { forEachBackend } from "../backends.ts";
import { smallConfig } from "../export/models.ts";

const keras = modelConfigOf(preset("keras-cifar100"));

const tokenizerFields: Record<TokenizerName, Partial<ViTConfig>[]> = {
  patches: [{}, { positionEmbedding: "none" }],
  shifted: [{ layerScale: 0.1 }, { localityAttention: true, layerScale: 1e-5 }],
  conv: [{ convChannels: [5, 8] }, { convChannels: [8], positionEmbedding: "sincos2d" }],
};
for (const pooling of Object.keys(poolings) as (keyof typeof poolings)[]) {
  for (const [tokenizer, list] of Object.entries(tokenizerFields)) {
    forEachBackend(`the weights of a model, tokenizer ${tokenizer}, pooling ${pooling}`, () => {
      const [plain, fixed] = list.map((fields) =>
        smallConfig({ ...fields, tokenizer: tokenizer as TokenizerName, pooling })
      );
      for (const config of [plain!, fixed!, { ...plain!, mlpHeadUnits: [11, 9] }]) check(config);
    }, { backends: ["cpu"] });
  }
}

function check(config: ViTConfig): void {
  const model = createViTClassifier(config);
  const shapes = [...namedVariables(model)].map(([name, { shape }]) => [name, shape]);
  const { weights, parameters } = architectureOf(config);
  assertEquals([...weights], shapes);
  assertEquals(parameters, model.countParams());
  model.dispose();
}

Deno.test("the numbers of the Keras example", () => {
  const { side, tokens, features, embedding, block, head, parameters, weights } = architectureOf(
    keras,
  );
  assertEquals([side, tokens, features], [12, 144, 9216]);
  assertEquals([parameters, weights.size], [21_759_012, 139]);
  const products = [...embedding, ...block, ...head].map(({ rows, inner, columns, parts }) => [
    ...[rows, inner, columns, parts],
  ]);
  assertEquals(products, [
    [144, 108, 64, 1],
    [144, 64, 256, 3],
    [144, 256, 64, 1],
    [144, 64, 128, 1],
    [144, 128, 64, 1],
    [1, 9216, 2048, 1],
    [1, 2048, 1024, 1],
    [1, 1024, 100, 1],
  ]);
});

Deno.test("a class token is one more token, with a weight of its own", () => {
  const { tokens, features, embedding, weights } = architectureOf({ ...keras, pooling: "token" });
  assertEquals([tokens, features, embedding[0]!.rows], [145, 64, 144]);
  assertEquals(weights.get("patch_encoder.class_token"), [1, 1, 64]);
  assertEquals(weights.get("patch_encoder.position_embedding"), [145, 64]);
});

/** ViT-22B (Dehghani et al., 2023) in our form: no model that people train is refused. */
const vit22b = {
  ...keras,
  ...{ imageSize: 224, patchSize: 14, projectionDim: 6144, numHeads: 48, keyDim: 128 },
  ...{ transformerLayers: 48, transformerUnits: [24576, 6144], mlpHeadUnits: [] },
  ...{ numClasses: 29_593, pooling: "mean" as const },
};

Deno.test("a model of ViT-22B's size is described, a larger one refused, both at once", () => {
  const start = performance.now();
  const { parameters } = architectureOf(vit22b);
  assert(parameters > 2.1e10 && parameters < 2.3e10, `${parameters}`);
  assertThrows(
    () => createViTClassifier({ ...vit22b, transformerLayers: 96 }),
    UserError,
    "The model would have 4.4e+10 parameters (256 tokens of projectionDim 6144, " +
      "transformerLayers 96, 6144 features, numClasses 29593), and 4e+10 are the most",
  );
  assert(performance.now() - start < 500);
});

Deno.test("weights that are not a configuration's are refused, the first by name", () => {
  const config = smallConfig();
  const right = architectureOf(config).weights;
  checkWeightShapes(config, right, "x");
  const refused = (shapes: Map<string, readonly number[]>) =>
    assertThrows(() => checkWeightShapes(config, shapes, "x"), UserError).message;
  const less = new Map(right);
  less.delete("blocks.1.norm2.beta");
  assertEquals(
    refused(less),
    "x does not fit its configuration: its weight blocks.1.norm2.beta is missing, [8] is needed.",
  );
  assertEquals(
    refused(new Map(right).set("norm.gamma", [9])),
    "x does not fit its configuration: its weight norm.gamma has the shape [9], [8] is needed.",
  );
  assertEquals(
    refused(new Map(right).set("a\u001b\u202eb", [1])),
    'x does not fit its configuration, which has no weight "a\\u001b\\u{202e}b".',
  );
});
