import { modelConfigOf, preset, type ViTConfig } from "../../lib/config/run.ts";
import { softmaxCrossEntropy } from "../../lib/kernels/softmax_cross_entropy.ts";
import { namedVariables } from "../../lib/models/vit_classifier.ts";
import { randomUniform, streamKey } from "../../lib/random.ts";
import { tf } from "../../lib/tfjs.ts";

/** As small as a Vision Transformer gets: 4 tokens, one block; every kind of layer. */
export const tinyModel: ViTConfig = {
  ...modelConfigOf(preset("tiny")),
  imageSize: 8,
  patchSize: 4,
  projectionDim: 8,
  numHeads: 2,
  keyDim: 4,
  transformerLayers: 1,
  transformerUnits: [16, 8],
  mlpHeadUnits: [12],
  headDropout: 0.2,
};

/** float32 of the shape, uniform in [-1, 1). */
export function randomTensor(shape: number[], seed = 1): tf.Tensor {
  const key = streamKey(seed, 99, 0);
  const size = tf.util.sizeFromShape(shape);
  return tf.tensor(
    Float32Array.from({ length: size }, (_, i) => 2 * randomUniform(key, i) - 1),
    shape,
  );
}

/** Images of {@linkcode tinyModel}, `[batch, 8, 8, 3]`. */
export function randomImages(batch: number, seed = 1): tf.Tensor4D {
  return randomTensor([batch, 8, 8, 3], seed) as tf.Tensor4D;
}

/** Encodes the gradients of a step of {@linkcode randomImages}; nothing of them is kept. */
export function encodeGradients(model: tf.LayersModel, batch: number): void {
  tf.tidy(() => {
    const [images, labels] = [randomImages(batch), tf.zeros<tf.Rank.R1>([batch], "int32")];
    const variables = [...namedVariables(model).values()];
    tf.variableGrads(() => {
      const logits = model.apply(images, { training: true }) as tf.Tensor2D;
      return softmaxCrossEntropy(logits, labels).loss;
    }, variables);
  });
}

/** What the tensor holds, as an array that nothing shares. */
export async function valuesOf(tensor: tf.Tensor): Promise<Float32Array> {
  return (await tensor.data<"float32">()).slice();
}
