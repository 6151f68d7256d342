import { SequencePooling } from "../sequence_pooling.ts";
import type { Pooling } from "./pooling.ts";

/** The sum of the tokens by weights that a dense layer gives them (Hassani et al., 2021). */
export const sequence: Pooling = {
  layer: (name, { seed, initializer, given }) =>
    new SequencePooling({ name, seed, initializer, given }),
  width: (_, dim) => dim,
  classToken: false,
  weights: (dim) => [["pooling.attention.kernel", [dim, 1]], ["pooling.attention.bias", [1]]],
  onnx(graph, tokens) {
    const scope = "pooling";
    const product = graph.node(scope, "MatMul", [tokens, "pooling.attention.kernel"]);
    const scores = graph.node(scope, "Add", [product, "pooling.attention.bias"]);
    const weights = graph.node(scope, "Softmax", [scores], { axis: 1 });
    // b n 1 -> b 1 n
    const turned = graph.node(scope, "Transpose", [weights], { perm: [0, 2, 1] });
    const sum = graph.node(scope, "MatMul", [turned, tokens]);
    return graph.node(scope, "Reshape", [sum, graph.ints([0, -1])]);
  },
};
