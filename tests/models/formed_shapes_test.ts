import { assertEquals } from "@std/assert";
import { modelConfigOf, preset, type RunConfig } from "../../lib/config/run.ts";
import { type Form, formKey, measuredForms } from "../../lib/kernels/forms.ts";
import { softmaxCrossEntropy } from "../../lib/kernels/softmax_cross_entropy.ts";
import { trainingForms } from "../../lib/models/formed_shapes.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { randomImages, tinyModel } from "./tiny_model.ts";

const variants: Partial<RunConfig>[] = [
  { pooling: "mean" },
  { pooling: "sequence", tokenizer: "shifted", positionEmbedding: "sincos2d", qkvBias: false },
  { pooling: "token", tokenizer: "shifted", finalNorm: "pooled" },
];

for (const fields of variants) {
  forEachBackend(`trainingForms names the shapes of a step, ${Object.values(fields)}`, () => {
    // Enough images that the sums of kernels are split.
    const config: RunConfig = { ...preset("tiny"), ...tinyModel, batchSize: 130, ...fields };
    const asked = new Set<string>();
    const ask = measuredForms.get;
    const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
    try {
      measuredForms.get = (key): Form => {
        asked.add(key);
        return "thread";
      };
      tf.tidy(() => {
        const [images, labels] = [randomImages(130), tf.zeros<tf.Rank.R1>([130], "int32")];
        const variables = [...namedVariables(model).values()];
        tf.variableGrads(() => {
          const logits = model.apply(images, { training: true }) as tf.Tensor2D;
          return softmaxCrossEntropy(logits, labels).loss;
        }, variables);
      });
    } finally {
      measuredForms.get = ask;
      model.dispose();
    }
    assertEquals([...new Set(trainingForms(config).map(formKey))].sort(), [...asked].sort());
  }, { backends: ["webgpu"] });
}
