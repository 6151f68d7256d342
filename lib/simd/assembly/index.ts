export { multiplyTask, productTask, sumRowsTask } from "./linear";
export { attentionGradTask, attentionTask } from "./attention";
export { layerNormGradTask, layerNormTask } from "./normalization";
export { convPoolTask, frameTask, poolGradTask } from "./convolution";
export { sequencePoolingGradTask, sequencePoolingTask } from "./pooling";
export { multiplyAdd } from "./vectors";
export { adamwTask } from "./optimizer";
export {
  winogradGradTask, winogradKernelGradTask, winogradKernelTask, winogradPoolTask, winogradTask,
} from "./winograd";
