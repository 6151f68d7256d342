/** Small classifiers whose every weight is random, so that no exporter can lose one unnoticed. */
import { parseViTConfig, type ViTConfig } from "../../lib/config/run.ts";
import type { FloatTensor } from "../../lib/checkpoint/training_state.ts";
import type { PortableModel } from "../../lib/export/portable_model.ts";
import { architectureOf } from "../../lib/models/architecture.ts";
import { createViTClassifier } from "../../lib/models/vit_classifier.ts";
import { randomUniform, streamKey, streamOfName } from "../../lib/random.ts";
import { tf } from "../../lib/tfjs.ts";
import { assignWeights } from "../../lib/train/weights.ts";

/** No two of its widths are equal, but for those that must be. */
export function smallConfig(changes: Partial<ViTConfig> = {}): ViTConfig {
  return parseViTConfig({
    imageSize: 12,
    channels: 3,
    patchSize: 4,
    projectionDim: 8,
    numHeads: 2,
    keyDim: 5,
    transformerLayers: 2,
    transformerUnits: [13, 8],
    mlpHeadUnits: [],
    numClasses: 6,
    pooling: "mean",
    attentionDropout: 0.1,
    mlpDropout: 0.1,
    headDropout: 0.1,
    layerNormEpsilon: 1e-6,
    ...changes,
  });
}

export function somePortable(config: ViTConfig): PortableModel {
  const weights = new Map<string, FloatTensor>();
  for (const [name, shape] of architectureOf(config).weights) {
    const key = streamKey(7, streamOfName(name), 0);
    const size = shape.reduce((a, b) => a * b, 1);
    const data = Float32Array.from({ length: size }, (_, i) => randomUniform(key, i) * 1.5 - 0.75);
    weights.set(name, { shape, data });
  }
  return {
    config,
    weights,
    classNames: ["ant", "bee", "cow", "dog", "elk"],
    preprocessing: {
      height: 32,
      width: 32,
      channels: 3,
      mean: [129.3, 124.1, 112.4],
      variance: [4659.5, 4284.2, 4955.6],
    },
  };
}

export function modelOf({ config, weights }: PortableModel): tf.LayersModel {
  const model = createViTClassifier(config);
  assignWeights(model, weights, "of the test");
  return model;
}

/** `[count, imageSize, imageSize, channels]`, about as normalized images are. */
export function someImages({ imageSize, channels }: ViTConfig, count: number): Float32Array {
  const key = streamKey(8, streamOfName("images"), 0);
  const size = count * imageSize * imageSize * channels;
  return Float32Array.from({ length: size }, (_, i) => randomUniform(key, i) * 4 - 2);
}

/** The model's logits of {@linkcode someImages}. */
export async function logitsOf(model: tf.LayersModel, config: ViTConfig, count: number) {
  const { imageSize, channels } = config;
  const logits = tf.tidy(() =>
    model.predict(
      tf.tensor(someImages(config, count), [count, imageSize, imageSize, channels]),
    ) as tf.Tensor
  );
  try {
    return await logits.data<"float32">();
  } finally {
    logits.dispose();
  }
}
