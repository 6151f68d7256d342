import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { architectureOf } from "../../lib/models/architecture.ts";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { isTrained, rateFactorOf, splitModel, type Training } from "../../lib/models/trained.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { tinyModel } from "./tiny_model.ts";

const model = { ...tinyModel, transformerLayers: 3 };
const training: Training = {
  ...{ freeze: "none", lora: 0, layerDecay: 1, headRate: 1, transformerLayers: 3 },
};
const names = [...architectureOf(model).weights.keys()];
const trained = (freeze: string) =>
  new Set(
    names.filter((name) => isTrained(name, { ...training, freeze })).map((name) =>
      name.replace(/\.[^.]*$/, "").replace(/^(blocks\.\d|\w+).*/, "$1")
    ),
  );

Deno.test("freeze names what stays: nothing, the first blocks, all but the head", () => {
  const head = ["head", "classifier"];
  assertEquals(
    trained("none"),
    new Set(["patch_encoder", "blocks.0", "blocks.1", "blocks.2", "norm", ...head]),
  );
  assertEquals(trained("0"), new Set(["blocks.0", "blocks.1", "blocks.2", "norm", ...head]));
  assertEquals(trained("2"), new Set(["blocks.2", "norm", ...head]));
  assertEquals(trained("3"), new Set(["norm", ...head]));
  assertEquals(trained("backbone"), new Set(head));
});

Deno.test("the rate falls by layerDecay from block to block, and the head has its own factor", () => {
  const config = { ...training, layerDecay: 0.5, headRate: 10 };
  const factor = (name: string) => rateFactorOf(name, config);
  assertEquals(factor("classifier.kernel"), 10);
  assertEquals(factor("norm.gamma"), 1);
  assertEquals(factor("blocks.2.mlp.0.bias"), 0.5);
  assertEquals(factor("blocks.0.norm1.beta"), 0.125);
  assertAlmostEquals(factor("patch_encoder.position_embedding"), 0.0625);
});

Deno.test("a model is cut before its first trained weight, with the dropout on the trained side", async () => {
  await selectBackend("cpu");
  const built = createViTClassifier({ ...model, headDropout: 0.2, mlpHeadUnits: [] });
  const cut = (freeze: string) =>
    splitModel(built, { ...training, freeze })?.trained.map(({ name }) => name)[0];
  assertEquals(cut("none"), undefined);
  assertEquals(cut("0"), "blocks.0.norm1");
  assertEquals(cut("2"), "blocks.2.norm1");
  assertEquals(cut("3"), "norm");
  assertEquals(cut("backbone"), "pooling_dropout");
  const { frozen, trained } = splitModel(built, { ...training, freeze: "1" })!;
  assertEquals(frozen.length + trained.length, built.layers.length - 1);
  assert(frozen.every(({ name }) => !name.startsWith("blocks.1")));
  built.dispose();
});
