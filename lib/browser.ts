/**
 * Vision Transformers in a browser: models that deno-vit has trained predict there, on WebGPU, WebGL,
 * wasm or cpu. The part of `mod.ts` that needs no Deno; `deno task bundle` makes one file of it.
 *
 * @example
 * ```ts ignore
 * import { loadClassifier, predictImages, readPicture } from "./deno-vit.js";
 * import { selectBackend, setWasmPaths } from "./deno-vit.js";
 *
 * setWasmPaths("./"); // where the backend's two .wasm files lie
 * console.log((await selectBackend("auto")).reason);
 * const { model, ...context } = await loadClassifier("https://example.org/model/model.json");
 * const picture = await readPicture(file); // a File, a Blob, an <img>, a <video>
 * const [guesses] = await predictImages(model, [picture], context);
 * ```
 *
 * @module
 */
import { wasmBackend } from "./tfjs.ts";

export { tf } from "./tfjs.ts";
export { UserError } from "./errors.ts";
export { parseViTConfig, type ViTConfig } from "./config/model.ts";
export {
  type BackendChoice,
  type BackendDecision,
  type BackendName,
  selectBackend,
} from "./backend/select.ts";
export { assertGpuHealthy, checkGpu, type Gpu, GpuError } from "./backend/device.ts";
export type { Precision } from "./backend/precision.ts";
export { capture, type CaptureRequest, type Inputs as CaptureInputs } from "./capture/capture.ts";
export { CaptureError } from "./capture/intercept.ts";
export { Capture, type CaptureStats, type NumberArray } from "./capture/replay.ts";
export type { Fit } from "./data/image/fit.ts";
export { resizeImage } from "./data/image/resize.ts";
export type { RgbImage } from "./data/image/rgb_image.ts";
export type { Preprocessing } from "./data/preprocessing.ts";
export {
  loadClassifier,
  type LoadClassifierOptions,
  type LoadedClassifier,
} from "./export/load_classifier.ts";
export type { ModelMetadata } from "./export/metadata.ts";
export type { Dropout as DropoutMask } from "./kernels/dropout.ts";
export {
  type CrossEntropy,
  type Softening,
  softmaxCrossEntropy,
} from "./kernels/softmax_cross_entropy.ts";
export {
  type BranchConfig,
  type CallOptions,
  type Initializer,
  type InputShape,
  VitLayer,
  type VitLayerConfig,
} from "./layers/layer.ts";
export { ClassToken } from "./layers/class_token.ts";
export { Dense } from "./layers/dense.ts";
export { Dropout } from "./layers/dropout.ts";
export { LayerNormalization } from "./layers/layer_normalization.ts";
export { Mlp } from "./layers/mlp.ts";
export { type AdapterConfig, MultiHeadAttention } from "./layers/multi_head_attention.ts";
export { PatchEncoder } from "./layers/patch_encoder.ts";
export { Patches } from "./layers/patches.ts";
export { TokenEncoder, type TokenEncoderConfig } from "./layers/token_encoder.ts";
export type { PositionEmbeddingName } from "./layers/position_embeddings.ts";
export { attentionRollout } from "./models/attention_rollout.ts";
export type { LoraFields } from "./models/lora.ts";
export { createViTClassifier, namedVariables } from "./models/vit_classifier.ts";
export { AdamW, type AdamWConfig, type NamedTensor } from "./optim/adamw.ts";
export type { Moments } from "./optim/moments.ts";
export { predictImages, type Prediction, type PredictionContext } from "./train/predict.ts";
export { readPicture } from "./web/picture.ts";

/**
 * Tells the wasm backend where its files lie, which are those of `@tensorflow/tfjs-backend-wasm`.
 * @param folder a URL that ends with a slash
 */
export const setWasmPaths: (folder: string) => void = wasmBackend.setWasmPaths;
