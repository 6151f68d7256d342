import type { tf } from "../../tfjs.ts";
import type { VitLayerConfig } from "../layer.ts";
import type { OnnxGraph } from "../onnx_graph.ts";

/**
 * DeiT's second learned token (Touvron et al., 2020): none; one that only takes part; or one that has a
 * classifier of its own.
 */
export const distillations = ["none", "token", "heads"] as const;

/** Options of a pooling's layer. */
export interface PoolingOptions extends Pick<VitLayerConfig, "seed" | "initializer" | "given"> {
  /** Learned tokens before those of the patches. */
  prefix: number;
  /** Learned tokens that are classified, each by itself; 1 but with two heads. */
  heads: number;
}

/** A way of making one vector of tokens. */
export interface Pooling {
  /** Its layer, `[batch, tokens, dim]` to `[batch, width]`. */
  layer(name: string, options: PoolingOptions): tf.layers.Layer;
  /** Length of the vector. */
  width(tokens: number, dim: number, heads: number): number;
  /** The shapes of its own weights by their plain names; none by default. */
  weights?(dim: number): [name: string, shape: number[]][];
  /** Whether a learned token stands before those of the patches. */
  classToken: boolean;
  /** Its nodes in an ONNX graph; returns the name of their output. */
  onnx(graph: OnnxGraph, tokens: string, options: Pick<PoolingOptions, "prefix" | "heads">): string;
}
