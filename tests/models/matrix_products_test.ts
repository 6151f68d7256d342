import { assertEquals } from "@std/assert";
import { modelConfigOf, preset, type RunConfig } from "../../lib/config/run.ts";
import { measuredTiles, productKey } from "../../lib/kernels/matmul/tiles.ts";
import { untunedProducts } from "../../lib/kernels/matmul/tuning.ts";
import { trainingProducts } from "../../lib/models/matrix_products.ts";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { forEachBackend } from "../backends.ts";
import { encodeGradients, tinyModel } from "./tiny_model.ts";

for (
  const [pooling, tokenizer] of [
    ...(["flatten", "mean", "token"] as const).map((pooling) => [pooling, "patches"] as const),
    ["mean", "shifted"],
  ] as const
) {
  const name = `tokenizer ${tokenizer}, pooling ${pooling}`;
  forEachBackend(`trainingProducts names the products of a step, ${name}`, () => {
    const fields = { pooling, tokenizer, batchSize: 6 };
    const config: RunConfig = { ...preset("tiny"), ...tinyModel, ...fields };
    const asked = new Set<string>();
    const ask = measuredTiles.get;
    const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
    try {
      measuredTiles.get = (key) => {
        asked.add(key);
        return "plainSmall";
      };
      encodeGradients(model, config.batchSize);
    } finally {
      measuredTiles.get = ask;
      model.dispose();
    }
    // In the form that this device can run.
    const named = new Set(untunedProducts(trainingProducts(config)).map(productKey));
    assertEquals([...named].sort(), [...asked].sort());
  }, { backends: ["webgpu"] });
}
