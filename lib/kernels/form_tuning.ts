/** Fastest form for each shape of what has two, on this adapter, by measurement. */
import { type TensorInfo, tf } from "../tfjs.ts";
import { webgpuAttention, webgpuAttentionGrad } from "./attention/wgsl.ts";
import { type Form, type FormedShape, formKey, forms, measuredForms } from "./forms.ts";
import { webgpuBackward, webgpuForward } from "./layer_norm/wgsl.ts";
import { chooseFastest, MOST_CALLS, type TuneOptions, type TuningResult } from "./measure.ts";
import { sumLeading } from "./sum_leading.ts";

/** Numbers that a measurement must at least read to be long enough. */
const ENOUGH_NUMBERS = 2 ** 22;

/** Those shapes that have no measured form, each once. */
export function untunedForms(shapes: FormedShape[]): FormedShape[] {
  const byKey = new Map(shapes.map((shape) => [formKey(shape), shape]));
  return [...byKey].filter(([key]) => !measuredForms.has(key)).map(([, shape]) => shape);
}

/**
 * Measures the shapes that have no measured form, on the current webgpu backend.
 *
 * @throws {UserError} when the device is lost or out of memory.
 */
export async function tuneForms(
  shapes: FormedShape[],
  options: TuneOptions = {},
): Promise<TuningResult<Form>[]> {
  const results: TuningResult<Form>[] = [];
  const wanted = untunedForms(shapes);
  for (const [done, shape] of wanted.entries()) {
    options.onProgress?.(done, wanted.length);
    const { inputs, run, numbers } = workOf(shape);
    try {
      results.push(
        await chooseFastest({
          key: formKey(shape),
          names: forms,
          chosen: measuredForms,
          call: () => dispose(run()),
          calls: Math.ceil(Math.min(MOST_CALLS, ENOUGH_NUMBERS / numbers)),
        }, options),
      );
    } finally {
      dispose(inputs);
    }
  }
  return results;
}

function dispose(tensors: TensorInfo[]): void {
  for (const tensor of tensors) {
    if (tensor instanceof tf.Tensor) tensor.dispose();
    else tf.backend().disposeData(tensor.dataId);
  }
}

/** A call of a shape's kernel. */
interface FormedWork {
  inputs: TensorInfo[];
  run: () => TensorInfo[];
  /** Of the largest input. */
  numbers: number;
}

/** Numbers that are neither denormal nor make a row constant. */
function example(...shape: number[]): tf.Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tidy(() => tf.range(0, size).mod(37).sub(18).div(37).reshape(shape));
}

function workOf(shape: FormedShape): FormedWork {
  switch (shape.kernel) {
    case "layer_norm":
    case "layer_norm_grad": {
      const { rows, dim } = shape;
      const [x, gamma, beta] = [example(rows, dim), example(dim), example(dim)] as const;
      const inputs = { x, gamma, beta };
      const numbers = rows * dim;
      if (shape.kernel === "layer_norm") {
        return { inputs: [x, gamma, beta], run: () => webgpuForward(inputs, 1e-6), numbers };
      }
      const [y, moments] = webgpuForward(inputs, 1e-6) as [TensorInfo, TensorInfo];
      return {
        inputs: [x, gamma, beta, y, moments],
        run: () => webgpuBackward({ dy: y, x, gamma, moments }),
        numbers,
      };
    }
    case "sum_leading": {
      const { count, size } = shape;
      const parts = example(count, size);
      return { inputs: [parts], run: () => sumLeading([parts], count), numbers: count * size };
    }
    default: {
      const { kernel, batch, tokens, numHeads, keyDim } = shape;
      const [query, key, value] = [0, 1, 2].map(() =>
        example(batch, tokens, numHeads * keyDim)
      ) as [tf.Tensor, tf.Tensor, tf.Tensor];
      const inputs = { query, key, value };
      const attributes = {
        ...{ batch, tokens, numHeads, keyDim, maskDiagonal: false, keeps: false },
        // Random bits cost both forms the same.
        ...{ stream: 0, threshold: 0, scale: 1 },
      };
      const numbers = query.size;
      if (kernel === "attention") {
        return {
          inputs: [query, key, value],
          run: () => webgpuAttention(inputs, attributes),
          numbers,
        };
      }
      const [attended, kept] = webgpuAttention(inputs, attributes) as [TensorInfo, TensorInfo];
      const given = { ...inputs, attended, kept, upstream: attended };
      return {
        inputs: [query, key, value, attended, kept],
        run: () => webgpuAttentionGrad(given, attributes),
        numbers,
      };
    }
  }
}
