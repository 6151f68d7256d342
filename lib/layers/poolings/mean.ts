import { tf } from "../../tfjs.ts";
import type { Pooling } from "./pooling.ts";

/** The mean of the tokens. */
export const mean: Pooling = {
  layer: (name) => tf.layers.globalAveragePooling1d({ name }),
  width: (_, dim) => dim,
  classToken: false,
  onnx: (graph, tokens) =>
    graph.node("pooling", "ReduceMean", [tokens], { axes: [1], keepdims: 0 }),
};
