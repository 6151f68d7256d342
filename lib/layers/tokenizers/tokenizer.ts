import type { tf } from "../../tfjs.ts";
import type { OnnxGraph } from "../onnx_graph.ts";
import type { TokenEncoderConfig } from "../token_encoder.ts";

/** The fields of a model's configuration that tokenizers go by. */
export interface TokenizerConfig {
  imageSize: number;
  channels: number;
  patchSize: number;
  projectionDim: number;
  convChannels: number[];
  layerNormEpsilon: number;
}

/** A way of making tokens of an image. */
export interface Tokenizer {
  /**
   * What is wrong with a configuration's fields for it, and what would do, a sentence; undefined where
   * nothing is.
   *
   * @param name a field as its user wrote it
   */
  fault(
    config: TokenizerConfig,
    name: (key: "tokenizer" | keyof TokenizerConfig) => string,
  ): string | undefined;
  /** Tokens along one side of the image. */
  side(config: TokenizerConfig): number;
  /**
   * The dense layer that makes tokens, if it is one: its name, the numbers that it takes, and whether
   * weights stand before it, so that its input needs a gradient.
   */
  dense?(config: TokenizerConfig): { name: string; inner: number; isInputLearned?: boolean };
  /** The shapes of its own weights by name, those of the dense layer too. */
  weights(config: TokenizerConfig): [name: string, shape: number[]][];
  /**
   * The filters that see the image itself: their weight, whose last axis counts them, the side of the
   * square that they see, and in how many parts (of as many channels) they see it.
   */
  filters(config: TokenizerConfig): { kernel: string; side: number; parts: number };
  /** The largest tensor of a step that it makes, of one image. */
  largest?(config: TokenizerConfig): { name: string; shape: number[] };
  /** The name of the layer that adds class token and positions; those weights begin with it. */
  encoder: string;
  /** Its layers, the encoder last: `[batch, size, size, channels]` to `[batch, tokens, dim]`. */
  apply(
    images: tf.SymbolicTensor,
    config: TokenizerConfig,
    encoder: TokenEncoderConfig,
  ): tf.SymbolicTensor;
  /** Its nodes in an ONNX graph, before class token and positions; returns their output's name. */
  onnx(graph: OnnxGraph, config: TokenizerConfig, images: string): string;
}
