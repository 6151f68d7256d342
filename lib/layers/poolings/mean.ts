import { tf } from "../../tfjs.ts";
import { PatchMean } from "../patch_mean.ts";
import type { Pooling } from "./pooling.ts";

/** The mean of the patches' tokens. */
export const mean: Pooling = {
  // tfjs's own where it will do, as in models of release 0.1.0.
  layer: (name, { prefix }) =>
    prefix > 0 ? new PatchMean({ name, prefix }) : tf.layers.globalAveragePooling1d({ name }),
  width: (_, dim) => dim,
  classToken: false,
  onnx(graph, tokens, { prefix }) {
    if (prefix > 0) {
      const bounds = [[prefix], [2 ** 31 - 1], [1]].map((bound) => graph.ints(bound));
      tokens = graph.node("pooling", "Slice", [tokens, ...bounds]);
    }
    return graph.node("pooling", "ReduceMean", [tokens], { axes: [1], keepdims: 0 });
  },
};
