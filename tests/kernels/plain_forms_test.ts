/**
 * The plain forms of kernels, which serve webgl: here on a backend of their own, which is tfjs's cpu
 * with these in place of ours. tests/browser has them on webgl itself.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { selectBackend } from "../../lib/backend/select.ts";
import type { ViTConfig } from "../../lib/config/model.ts";
import { UserError } from "../../lib/errors.ts";
import { tf } from "../../lib/tfjs.ts";
import { Classifier } from "../../lib/train/predict.ts";
import { logitsOf, modelOf, smallConfig, somePortable } from "../export/models.ts";

const plain = "plain";
tf.registerBackend(plain, tf.findBackendFactory("cpu")!);
tf.copyRegisteredKernels("cpu", plain);
for (const { kernelName, kernelFunc } of tf.getKernelsForBackend("webgl")) {
  if (!kernelName.startsWith("Vit")) continue;
  tf.unregisterKernel(kernelName, plain);
  tf.registerKernel({ kernelName, backendName: plain, kernelFunc });
}

/** Between them every kernel that predicts. */
const architectures: Partial<ViTConfig>[] = [
  { mlpHeadUnits: [12], pooling: "flatten" },
  { pooling: "token", positionEmbedding: "sincos2d" },
  { tokenizer: "conv", convChannels: [5, 8], pooling: "sequence", mlpLastActivation: false },
  { tokenizer: "shifted", localityAttention: true, layerScale: 0.1, pooling: "mean" },
];

for (const changes of architectures) {
  Deno.test(`plain forms predict as the others do: ${JSON.stringify(changes)}`, async () => {
    const portable = somePortable(smallConfig(changes));
    const image = Uint8Array.from({ length: 32 * 32 * 3 }, (_, i) => i * i);
    const found: { logits: Float32Array; probabilities: number[] }[] = [];
    for (const backend of ["cpu", plain]) {
      if (backend === plain) await tf.setBackend(plain);
      else await selectBackend(backend);
      const before = tf.memory().numTensors;
      const model = modelOf(portable);
      const logits = (await logitsOf(model, portable.config, 2)).slice();
      using classifier = new Classifier(model, portable);
      const [guesses] = await classifier.classify([image], 6);
      found.push({ logits, probabilities: guesses!.map(({ probability }) => probability) });
      model.dispose();
      assertEquals(tf.memory().numTensors, before, `${backend} left tensors behind`);
    }
    const [fused, composed] = found;
    const largest = Math.max(...fused!.logits.map(Math.abs));
    fused!.logits.forEach((logit, i) => {
      const gap = Math.abs(logit - composed!.logits[i]!) / largest;
      assert(gap < 1e-5, `logit ${i} is ${composed!.logits[i]}, not ${logit}`);
    });
    fused!.probabilities.forEach((probability, i) => {
      assert(Math.abs(probability - composed!.probabilities[i]!) < 1e-5);
    });
  });
}

Deno.test("plain forms refuse to train, in a sentence", async () => {
  await tf.setBackend(plain);
  const model = modelOf(somePortable(smallConfig()));
  const images = tf.zeros([1, 12, 12, 3]);
  assertThrows(
    () => tf.variableGrads(() => (model.apply(images, { training: true }) as tf.Tensor).sum()),
    UserError,
    "The webgl backend predicts and does not train",
  );
  tf.dispose(images);
  model.dispose();
});
