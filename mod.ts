/**
 * Vision Transformers trained, evaluated and used headless on Deno's built-in WebGPU, with
 * TensorFlow.js as the tensor runtime.
 *
 * @example
 * ```ts
 * import { createViTClassifier, modelConfigOf, preset, selectBackend, tf } from "./mod.ts";
 *
 * console.log((await selectBackend("auto")).reason);
 * const model = createViTClassifier(modelConfigOf(preset("tiny")), { seed: 1 });
 * const logits = model.predict(tf.zeros([1, 32, 32, 3])) as tf.Tensor;
 * console.log(logits.shape); // [1, 100]
 * logits.dispose();
 * ```
 *
 * @module
 */
export { tf } from "./lib/tfjs.ts";
export { UserError } from "./lib/errors.ts";
export {
  modelConfigOf,
  parseRunConfig,
  parseViTConfig,
  preset,
  type PresetName,
  presets,
  type RunConfig,
  type ViTConfig,
} from "./lib/config/run.ts";
export {
  type BackendChoice,
  type ComputedOn,
  selectBackend,
  selectBackendOfRun,
} from "./lib/backend/select.ts";
export {
  Capture,
  capture,
  CaptureError,
  type CaptureRequest,
  type CaptureStats,
} from "./lib/capture/capture.ts";
export { assertGpuHealthy, checkGpu } from "./lib/backend/device.ts";
export { createShapes } from "./lib/data/shapes.ts";
export { loadDataset, type LoadOptions } from "./lib/data/load.ts";
export {
  channelStatistics,
  type ImageDataset,
  type ImageSplit,
  limitSplit,
  splitValidation,
} from "./lib/data/dataset.ts";
export type { DecodeOptions } from "./lib/data/image/decode.ts";
export { readImageFile } from "./lib/data/image/read.ts";
export { resizeImage } from "./lib/data/image/resize.ts";
export type { RgbImage } from "./lib/data/image/rgb_image.ts";
export { ClassToken } from "./lib/layers/class_token.ts";
export { Dense } from "./lib/layers/dense.ts";
export { Dropout } from "./lib/layers/dropout.ts";
export { LayerNormalization } from "./lib/layers/layer_normalization.ts";
export { Mlp } from "./lib/layers/mlp.ts";
export { MultiHeadAttention } from "./lib/layers/multi_head_attention.ts";
export { PatchEncoder } from "./lib/layers/patch_encoder.ts";
export { Patches } from "./lib/layers/patches.ts";
export { createViTClassifier, namedVariables } from "./lib/models/vit_classifier.ts";
export { AdamW, type AdamWConfig } from "./lib/optim/adamw.ts";
export { type CrossEntropy, softmaxCrossEntropy } from "./lib/kernels/softmax_cross_entropy.ts";
export { type Batch, DeviceSplit, type Preprocessing } from "./lib/train/batches.ts";
export { evaluate, type Evaluation } from "./lib/train/evaluate.ts";
export {
  type EpochRecord,
  fit,
  type FitOptions,
  type Progress,
  startOfRun,
} from "./lib/train/fit.ts";
export { type InitialWeights, loadInitialWeights } from "./lib/train/initial_weights.ts";
export { predictImages, type Prediction } from "./lib/train/predict.ts";
export { assignWeights, type RunOptions, type RunResult, trainRun } from "./lib/train/run.ts";
export {
  evaluationStep,
  TrainingStep,
  type TrainingStepParts,
  trainStep,
} from "./lib/train/step.ts";
export { lockRun, type RunLock } from "./lib/checkpoint/lock.ts";
export { type ReopenedRun, reopenRun } from "./lib/checkpoint/reopen.ts";
export { createRunFolder, openRunFolder, type RunFolder } from "./lib/checkpoint/run_folder.ts";
export { loadState, loadWeights, saveState, type TrainingState } from "./lib/checkpoint/state.ts";
export { fileHandler } from "./lib/export/file_handler.ts";
export { encodeOnnx } from "./lib/export/onnx.ts";
export {
  loadPlainWeights,
  type PortableModel,
  readWeights,
  savePlainWeights,
} from "./lib/export/portable_model.ts";
