import { ClassToken } from "../class_token.ts";
import type { Pooling } from "./pooling.ts";

/**
 * A learned class token, as in the ViT paper: what attention has made of it is the vector. With two
 * heads that of the distillation token stands beside it.
 */
export const token: Pooling = {
  layer: (name, { heads }) => new ClassToken({ name, count: heads }),
  width: (_, dim, heads) => heads * dim,
  classToken: true,
  onnx(graph, tokens, { heads }) {
    if (heads === 1) {
      return graph.node("pooling", "Gather", [tokens, graph.ints([], [0])], { axis: 1 });
    }
    const bounds = [[0], [heads], [1]].map((bound) => graph.ints(bound));
    const taken = graph.node("pooling", "Slice", [tokens, ...bounds]);
    return graph.node("pooling", "Flatten", [taken], { axis: 1 });
  },
};
