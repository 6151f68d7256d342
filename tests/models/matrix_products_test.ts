import { assertEquals } from "@std/assert";
import { modelConfigOf, preset, type RunConfig } from "../../lib/config/run.ts";
import { measuredTiles, productKey } from "../../lib/kernels/matmul/tiles.ts";
import { untunedProducts } from "../../lib/kernels/matmul/tuning.ts";
import { softmaxCrossEntropy } from "../../lib/kernels/softmax_cross_entropy.ts";
import { trainingProducts } from "../../lib/models/matrix_products.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { randomImages, tinyModel } from "./tiny_model.ts";

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
      tf.tidy(() => {
        const [images, labels] = [randomImages(6), tf.zeros<tf.Rank.R1>([6], "int32")];
        const variables = [...namedVariables(model).values()];
        tf.variableGrads(() => {
          const logits = model.apply(images, { training: true }) as tf.Tensor2D;
          return softmaxCrossEntropy(logits, labels).loss;
        }, variables);
      });
    } finally {
      measuredTiles.get = ask;
      model.dispose();
    }
    // In the form that this device can run.
    const named = new Set(untunedProducts(trainingProducts(config)).map(productKey));
    assertEquals([...named].sort(), [...asked].sort());
  }, { backends: ["webgpu"] });
}
