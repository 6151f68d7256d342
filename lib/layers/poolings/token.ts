import { ClassToken } from "../class_token.ts";
import type { Pooling } from "./pooling.ts";

/** A learned class token, as in the ViT paper: what attention has made of it is the vector. */
export const token: Pooling = {
  layer: (name) => new ClassToken({ name }),
  width: (_, dim) => dim,
  classToken: true,
  onnx: (graph, tokens) =>
    graph.node("pooling", "Gather", [tokens, graph.ints([], [0])], { axis: 1 }),
};
