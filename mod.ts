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
export { parseViTConfig, type ViTConfig } from "./lib/config/model.ts";
export { preset, type PresetName, presets } from "./lib/config/presets.ts";
export { modelConfigOf, parseRunConfig, type RunConfig } from "./lib/config/run.ts";
export type { Origin } from "./lib/config/parse.ts";
export type { ComputedOn } from "./lib/backend/computed_on.ts";
export type { Precision } from "./lib/backend/precision.ts";
export {
  type BackendChoice,
  type BackendDecision,
  type BackendName,
  type BackendOptions,
  selectBackend,
  selectBackendOfRun,
} from "./lib/backend/select.ts";
export {
  capture,
  type CaptureRequest,
  type Inputs as CaptureInputs,
} from "./lib/capture/capture.ts";
export { CaptureError } from "./lib/capture/intercept.ts";
export { Capture, type CaptureStats, type NumberArray } from "./lib/capture/replay.ts";
export type { InputValues } from "./lib/capture/repeated.ts";
export { assertGpuHealthy, checkGpu, type Gpu, GpuError } from "./lib/backend/device.ts";
export { type ArrayDataset, type ArrayImages, createDataset } from "./lib/data/create_dataset.ts";
export { openImageFolder, openParquet } from "./lib/data/open_images.ts";
export type { PictureOptions } from "./lib/data/open_pictures.ts";
export type { DataProgress } from "./lib/data/progress.ts";
export { Mpi } from "./lib/distributed/mpi.ts";
export type { Ranks } from "./lib/distributed/ranks.ts";
export { createShapes, type ShapesOptions } from "./lib/data/shapes.ts";
export { loadDataset, type LoadOptions } from "./lib/data/load.ts";
export type { Checksum, DownloadOptions, DownloadProgress } from "./lib/data/download.ts";
export type { DatasetName, DatasetWord, LabelKind, PictureKind } from "./lib/data/sources.ts";
export type { Fit, PictureForm } from "./lib/data/image/fit.ts";
export type { Shares } from "./lib/data/stratified.ts";
export {
  channelStatistics,
  type ImageDataset,
  type ImageSplit,
  type Labels,
  limitSplit,
  type RecordStream,
  splitValidation,
  type StreamedImages,
  type Superclasses,
} from "./lib/data/dataset.ts";
export type { DecodeOptions } from "./lib/data/image/decode.ts";
export { readImageFile } from "./lib/data/image/read.ts";
export { type Resampling, resizeImage, type ResizeOptions } from "./lib/data/image/resize.ts";
export type { RgbImage } from "./lib/data/image/rgb_image.ts";
export type { Preprocessing } from "./lib/data/preprocessing.ts";
export type { Dropout as DropoutMask } from "./lib/kernels/dropout.ts";
export {
  type BranchConfig,
  type CallOptions,
  type GeluForm,
  type GivenWeights,
  type Initializer,
  type InputShape,
  VitLayer,
  type VitLayerConfig,
} from "./lib/layers/layer.ts";
export { ClassToken } from "./lib/layers/class_token.ts";
export { Dense } from "./lib/layers/dense.ts";
export { Dropout } from "./lib/layers/dropout.ts";
export { LayerNormalization } from "./lib/layers/layer_normalization.ts";
export { Mlp } from "./lib/layers/mlp.ts";
export { type AdapterConfig, MultiHeadAttention } from "./lib/layers/multi_head_attention.ts";
export { PatchEncoder } from "./lib/layers/patch_encoder.ts";
export { TokenEncoder, type TokenEncoderConfig } from "./lib/layers/token_encoder.ts";
export type { PositionEmbeddingName } from "./lib/layers/position_embeddings.ts";
export { Patches } from "./lib/layers/patches.ts";
export type { LoraFields } from "./lib/models/lora.ts";
export { createViTClassifier, namedVariables } from "./lib/models/vit_classifier.ts";
export { AdamW, type AdamWConfig, type NamedTensor } from "./lib/optim/adamw.ts";
export { WeightAverage } from "./lib/optim/weight_average.ts";
export type { Moments } from "./lib/optim/moments.ts";
export {
  type CrossEntropy,
  type Softening,
  softmaxCrossEntropy,
} from "./lib/kernels/softmax_cross_entropy.ts";
export {
  type Batch,
  type BatchInputs,
  type BatchLabels,
  DeviceSplit,
  type ImageRange,
} from "./lib/train/batches.ts";
export { type Clock } from "./lib/train/clock.ts";
export { DeviceDataset } from "./lib/train/device_dataset.ts";
export {
  evaluate,
  evaluateEach,
  type EvaluateOptions,
  type Guesses,
  type RankedEvaluateOptions,
} from "./lib/train/evaluate.ts";
export { type EpochLine, type RunEvent, type StepEvent } from "./lib/train/events.ts";
export { fit, type FitOptions, type FitResult, type Keeper } from "./lib/train/fit.ts";
export { type InitialWeights, loadInitialWeights } from "./lib/train/initial_weights.ts";
export { type Metrics } from "./lib/train/metrics.ts";
export { predictImages, type Prediction, type PredictionContext } from "./lib/train/predict.ts";
export type { SaveEvery } from "./lib/train/saver.ts";
export { type RunOptions, type RunResult, type RunStart, trainRun } from "./lib/train/run.ts";
export { assignWeights, readVariables as readWeights } from "./lib/train/weights.ts";
export { type MetricSums, type Progress, startOfRun } from "./lib/checkpoint/progress.ts";
export { lockRun, type RunLock } from "./lib/checkpoint/lock.ts";
export { type ReopenedRun, reopenRun } from "./lib/checkpoint/reopen.ts";
export { createRunFolder, openRunFolder, type RunFolder } from "./lib/checkpoint/run_folder.ts";
export { type Loaded, loadState, loadWeights, saveState } from "./lib/checkpoint/state.ts";
export {
  type DatasetIdentity,
  type FloatTensor,
  type TrainingState,
  type WeightsState,
} from "./lib/checkpoint/training_state.ts";
export { saveForeign } from "./lib/foreign/save.ts";
export type { LayoutName, Preparation } from "./lib/foreign/layouts.ts";
export { fileHandler } from "./lib/export/file_handler.ts";
export {
  loadClassifier,
  type LoadClassifierOptions,
  type LoadedClassifier,
} from "./lib/export/load_classifier.ts";
export type { ModelMetadata } from "./lib/export/metadata.ts";
export { encodeOnnx } from "./lib/export/onnx.ts";
export {
  loadPlainWeights,
  type PortableModel,
  savePlainWeights,
} from "./lib/export/portable_model.ts";
