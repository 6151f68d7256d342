import type { tf } from "../../tfjs.ts";
import type { VitLayerConfig } from "../layer.ts";
import type { OnnxGraph } from "../onnx_graph.ts";

/** A way of making one vector of tokens. */
export interface Pooling {
  /** Its layer, `[batch, tokens, dim]` to `[batch, width]`. */
  layer(name: string, options?: Pick<VitLayerConfig, "seed" | "initializer">): tf.layers.Layer;
  /** Length of the vector. */
  width(tokens: number, dim: number): number;
  /** The shapes of its own weights by their plain names; none by default. */
  weights?(dim: number): [name: string, shape: number[]][];
  /** Whether a learned token stands before those of the patches. */
  classToken: boolean;
  /** Its nodes in an ONNX graph; returns the name of their output. */
  onnx(graph: OnnxGraph, tokens: string): string;
}
