import { assertAlmostEquals, assertEquals } from "@std/assert";
import { modelConfigOf, preset } from "../../lib/config/run.ts";
import { MultiHeadAttention } from "../../lib/layers/multi_head_attention.ts";
import { attentionRollout } from "../../lib/models/attention_rollout.ts";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

const config = modelConfigOf({
  ...preset("tiny"),
  ...{
    imageSize: 16,
    patchSize: 4,
    projectionDim: 8,
    numHeads: 2,
    keyDim: 4,
    transformerLayers: 2,
  },
  ...{ transformerUnits: [16, 8], numClasses: 5 },
});

for (const locality of [false, true]) {
  const name = locality ? "with locality" : "plain";
  forEachBackend(`attention weights give what the layer gives, ${name}`, async () => {
    const x = tf.randomNormal<tf.Rank.R3>([2, 5, 8], 0, 1, "float32", 3);
    const layer = new MultiHeadAttention({ name: "a", seed: 5, numHeads: 2, keyDim: 4, locality });
    const output = layer.apply(x) as tf.Tensor;
    const expected = tf.tidy(() => {
      const weight = (name: string) =>
        layer.weights.find((each) => each.originalName === `a/${name}`)!.read();
      // b n d -> b h n k
      const value = tf.add(tf.dot(x.reshape([10, 8]), weight("value.kernel")), weight("value.bias"))
        .reshape([2, 5, 2, 4]).transpose([0, 2, 1, 3]);
      const heads = tf.matMul(layer.attentionWeights(x), value).transpose([0, 2, 1, 3]);
      return tf.add(tf.dot(heads.reshape([10, 8]), weight("output.kernel")), weight("output.bias"))
        .reshape([2, 5, 8]);
    });
    const [a, b] = [await output.data(), await expected.data()];
    a.forEach((value, i) => assertAlmostEquals(value, b[i]!, 1e-5));
    tf.dispose([x, output, expected]);
    layer.dispose();
  });
}

for (const pooling of ["mean", "token"] as const) {
  forEachBackend(
    `attention rollout of a model with pooling ${pooling} has shares of patches`,
    async () => {
      const model = createViTClassifier({ ...config, pooling }, { seed: 1 });
      const images = tf.randomNormal<tf.Rank.R4>([3, 16, 16, 3], 0, 1, "float32", 4);
      const rollout = attentionRollout(model, images, pooling === "token");
      assertEquals(rollout.shape, [3, 16]);
      const values = await rollout.data<"float32">();
      for (let i = 0; i < 3; i++) {
        const row = values.slice(i * 16, (i + 1) * 16);
        assertAlmostEquals(row.reduce((sum, value) => sum + value, 0), 1, 1e-5);
        assertEquals(row.every((value) => value > 0), true);
      }
      tf.dispose([images, rollout]);
      model.dispose();
    },
  );
}

forEachBackend("a model that attends to all alike has a rollout that is even", async () => {
  const model = createViTClassifier(config, { seed: 1 });
  for (const weight of model.weights) {
    if (!/query|key/.test(weight.originalName)) continue;
    const zeros = tf.zeros(weight.shape as number[]);
    weight.write(zeros);
    zeros.dispose();
  }
  const images = tf.randomNormal<tf.Rank.R4>([1, 16, 16, 3], 0, 1, "float32", 4);
  const rollout = attentionRollout(model, images, false);
  for (const value of await rollout.data()) assertAlmostEquals(value, 1 / 16, 1e-6);
  tf.dispose([images, rollout]);
  model.dispose();
});
