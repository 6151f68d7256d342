import { tf } from "../../tfjs.ts";
import type { Pooling } from "./pooling.ts";

/** All tokens side by side, as in the Keras example: a wide vector that knows every place. */
export const flatten: Pooling = {
  layer: (name) => tf.layers.flatten({ name }),
  width: (tokens, dim) => tokens * dim,
  classToken: false,
  onnx: (graph, tokens) => graph.node("pooling", "Flatten", [tokens], { axis: 1 }),
};
