/** Part of the ONNX writer that poolings and tokenizers need. */
export interface OnnxGraph {
  /** Adds an operation; returns the name of its output. */
  node(
    scope: string,
    opType: string,
    inputs: string[],
    integers?: Record<string, number | number[]>,
    floats?: Record<string, number>,
  ): string;
  /** An int64 constant: a list of `shape`'s length, or `values` in a shape of their own. */
  ints(shape: number[], values?: number[]): string;
}
