/**
 * Work that a kernel of ours has to do, from the shapes that tfjs's profiler reports: the least
 * traffic (every input read once, every output written once) and the multiply-adds of its matrix
 * products, each counted as two operations. What is elementwise counts no operations, nor do the
 * operations on images, of which each image has another.
 */

/** A kernel as `tf.profile` lists it. */
export interface KernelCall {
  name: string;
  /** In the order of the kernel's named inputs; null for one left out. */
  inputShapes: (number[] | null)[];
  outputShapes: number[][];
}

/** Facts that the profiler cannot see, because it is no input of a kernel. */
export interface StepSizes {
  /** Numbers that the optimizer updates. */
  parameters: number;
  /** Bytes of the stored images of a batch. */
  imageBytes: number;
}

/** Work of one call. */
export interface Work {
  /** The sizes that decide the work, for people. */
  shape: string;
  flops: number;
  bytes: number;
}

/**
 * Products of attention, each of batch x tokens x tokens x width. Forward: scores and output.
 * Backward, where the weights are computed again in each of two kernels: scores, their gradient and
 * dQuery in the one; scores, their gradient, dKey and dValue in the other.
 */
const attentionProducts: Record<string, number> = { VitAttention: 2, VitAttentionGrad: 7 };

/** Work of one call of a kernel: what it has to compute and to move. */
export function workOf(call: KernelCall, step: StepSizes): Work {
  const { name, inputShapes, outputShapes } = call;
  const inputs = inputShapes.map((shape) => shape ? sizeOf(shape) : 0);
  const numbers = [...inputs, ...outputShapes.map(sizeOf)].reduce((a, b) => a + b, 0);
  const usual = { shape: shapeText(inputShapes[0] ?? []), flops: 0, bytes: 4 * numbers };
  const [first, second] = inputShapes;

  if (name === "VitLinear" && second) {
    return { ...usual, ...product(inputs[0]! / second[0]!, second[0]!, second[1]!) };
  }
  if (name === "VitLinearGradX" && second) {
    return { ...usual, ...product(inputs[0]! / second[1]!, second[1]!, second[0]!) };
  }
  if (name === "VitLinearGradKernel" && outputShapes[0]?.length === 2) {
    const [rows, columns] = outputShapes[0] as [number, number];
    return { ...usual, ...product(rows, inputs[0]! / rows, columns) };
  }
  // Several layers of one input: [x, kernels, biases], [dys, kernels] and [x, dys].
  if (name === "VitParallelLinear" && second) {
    return {
      ...usual,
      ...product(inputs[0]! / second[0]!, second[0]!, second[1]!, outputShapes.length),
    };
  }
  if (name === "VitParallelLinearGradX") {
    const parts = inputs.length / 2;
    const [columns, inner] = inputShapes[parts] as [number, number];
    return { ...usual, ...product(inputs[0]! / inner, inner, columns, parts) };
  }
  if (name === "VitParallelLinearGradKernels") {
    const [rows, columns] = outputShapes[0] as [number, number];
    return { ...usual, ...product(rows, inputs[0]! / rows, columns, inputs.length - 1) };
  }
  if (name === "VitLayerNorm") {
    // A third output is the input itself, handed on.
    const written = outputShapes.slice(0, 2).map(sizeOf);
    return { ...usual, bytes: 4 * [...inputs, ...written].reduce((a, b) => a + b, 0) };
  }
  if (name in attentionProducts && first) {
    const [batch, tokens, width] = first as [number, number, number];
    return { ...usual, flops: attentionProducts[name]! * 2 * batch * tokens * tokens * width };
  }
  if (name === "VitAdamW") {
    // Reads gradient, value and both moments, writes all but the gradient.
    return { shape: String(step.parameters), flops: 0, bytes: 7 * 4 * step.parameters };
  }
  if (name === "VitAugmentBatch") {
    const output = outputShapes[0] ?? [];
    return {
      shape: shapeText(output),
      flops: 0,
      bytes: step.imageBytes + 4 * sizeOf(output),
    };
  }
  return usual;
}

function product(
  rows: number,
  inner: number,
  columns: number,
  parts = 1,
): { shape: string; flops: number } {
  const shape = shapeText([rows, inner, columns]);
  return {
    shape: parts === 1 ? shape : `${parts} of ${shape}`,
    flops: parts * 2 * rows * inner * columns,
  };
}

const sizeOf = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);
const shapeText = (shape: number[]): string => shape.join("x") || "1";
