/**
 * Dense layers in one operation each: y = residual + dropout(activation(x @ kernel + bias)), or a
 * chain of them.
 *
 * While the tape is on, the forward pass also keeps a layer's slope, the derivative of
 * dropout(gelu(z)) to z. It needs the exponential that GELU has computed anyway and takes the place
 * of z, so the backward pass neither draws the mask nor evaluates GELU again:
 * dz = dy * slope, dx = dz @ kernel^T, dkernel = x^T @ dz, dbias = the sum of dz's rows. In a chain
 * dx is the dy of the layer before, whose slope then multiplies it where it is written. (To
 * multiply dy where it is read costs more: a software adapter pays for each load, and the products
 * load dy many times.)
 */
import { tf } from "../../tfjs.ts";
import { type Dropout, dropoutNumbers, dropsAny } from "../dropout.ts";
import { isTapeOn, onTape, wantsGradient } from "../lazy_gradient.ts";
import { runKernel, withoutNulls } from "../register.ts";
import type { Attributes } from "./kernels.ts";
import "./kernels.ts";

/** Steps that follow the product and the bias, in this order. */
export interface LinearOptions {
  /** The exact GELU, or that by tanh. */
  activation?: "gelu" | "geluTanh";
  /** The mask's index is that of y's elements in row-major order. */
  dropout?: Dropout;
  /** Added last: y's shape, or its last dimensions, repeated over the leading ones. */
  residual?: tf.Tensor;
}

/** One layer of a chain. */
export interface ChainedLayer extends Omit<LinearOptions, "residual"> {
  /** float32 [in, out]. */
  kernel: tf.Tensor2D;
  /** float32 [out], or null for none. */
  bias: tf.Tensor1D | null;
}

/**
 * A dense layer with what surrounds it.
 *
 * @param x float32 [..., in].
 * @param kernel float32 [in, out].
 * @param bias float32 [out], or null for none.
 * @returns float32 [..., out]; differentiable with respect to x, kernel, bias and residual.
 * @throws {Error} when the shapes do not fit.
 * @throws {RangeError} when the dropout rate is outside [0, 1).
 */
export function linear(
  x: tf.Tensor,
  kernel: tf.Tensor2D,
  bias: tf.Tensor1D | null,
  { residual, ...options }: LinearOptions = {},
): tf.Tensor {
  return linearChain(x, [{ kernel, bias, ...options }], residual);
}

/**
 * Dense layers, each applied to the output of the one before.
 *
 * @param x float32 [..., in].
 * @param layers At least one.
 * @param residual Added to the output of the last, as in {@linkcode LinearOptions}.
 * @returns float32 [..., out]; differentiable with respect to x, kernels, biases and residual.
 * @throws {Error} when the shapes do not fit.
 * @throws {RangeError} when a dropout rate is outside [0, 1).
 */
export function linearChain(
  x: tf.Tensor,
  layers: ChainedLayer[],
  residual?: tf.Tensor,
): tf.Tensor {
  const shape = checkedShape(x, layers, residual);
  const isOnTape = isTapeOn();
  const last = layers.length - 1;
  const rowsOfImage = x.size / x.shape.at(-1)! / x.shape[0]!;
  const attributes = layers.map(({ activation, dropout }): Attributes => {
    const gelu = activation === "geluTanh" ? "tanh" : activation === "gelu";
    const drops = dropsAny(dropout);
    return {
      gelu,
      rate: drops ? dropout.rate : 0,
      stream: drops ? dropout.stream : 0,
      rowsOfImage,
      slope: isOnTape && (gelu !== false || drops),
    };
  });
  const weights = Object.fromEntries(
    layers.flatMap(({ kernel, bias }, i) => [[`kernel${i}`, kernel], [`bias${i}`, bias]]),
  );
  const isLearned = layers.map(({ kernel, bias }) =>
    wantsGradient(kernel) || (bias !== null && wantsGradient(bias))
  );
  return onTape({
    inputs: withoutNulls<tf.Tensor>({ x, ...weights, residual }),
    forward: (save) => {
      const inputs = [x];
      const slopes: tf.Tensor[] = [];
      for (const [i, { kernel, bias, dropout }] of layers.entries()) {
        const [y, slope] = runKernel("VitLinear", {
          x: inputs[i],
          kernel,
          bias,
          residual: i === last ? residual : undefined,
          stepKey: dropsAny(dropout) ? dropout.stepKey : undefined,
        }, attributes[i]);
        inputs.push(y!);
        if (slope) slopes.push(slope);
      }
      const y = inputs.pop()!;
      save([...inputs, ...layers.map(({ kernel }) => kernel), ...slopes]);
      return y.reshape(shape);
    },
    backward: (dy, saved) => {
      const inputs = saved.slice(0, layers.length);
      const kernels = saved.slice(layers.length, 2 * layers.length);
      const slopes = saved.slice(2 * layers.length);
      const slopeOf = attributes.map(({ slope }) => slope ? slopes.shift() : undefined);
      const thunks: Record<string, () => tf.Tensor> = {};
      const gradX = (i: number, dz: tf.Tensor, slope?: tf.Tensor) => {
        const [dx] = runKernel("VitLinearGradX", { dz, kernel: kernels[i], slope }, {
          shape: inputs[i]!.shape,
        });
        if (dz !== dy) dz.dispose();
        return dx!;
      };

      const slope = slopeOf[last];
      let dz = slope ? runKernel("VitLinearSlope", { dy, slope })[0]! : dy;
      for (let i = last; i >= 0; i--) {
        if (isLearned[i]) {
          // Here and not in a thunk, because one kernel makes the gradients of two inputs.
          const [dKernel, dBias] = runKernel("VitLinearGradKernel", { x: inputs[i], dz }, {
            columns: kernels[i]!.shape[1],
            bias: layers[i]!.bias !== null,
          });
          thunks[`kernel${i}`] = () => dKernel!;
          thunks[`bias${i}`] = () => dBias!;
        }
        if (i > 0) dz = gradX(i, dz, slopeOf[i - 1]);
      }
      const first = dz;
      thunks.x = () => gradX(0, first);
      thunks.residual = () => {
        if (residual!.size === dy.size) return dy.reshape(residual!.shape);
        return runKernel("VitSumLeading", { dy }, { shape: residual!.shape })[0]!;
      };
      return thunks;
    },
  });
}

function checkedShape(x: tf.Tensor, layers: ChainedLayer[], residual?: tf.Tensor): number[] {
  let shape = x.shape;
  for (const { kernel, bias, dropout } of layers) {
    const [rows, columns] = kernel.shape;
    if (kernel.rank !== 2 || x.size === 0 || shape.at(-1) !== rows) {
      throw new Error(`linear cannot multiply x [${shape}] by a kernel [${kernel.shape}].`);
    }
    if (bias && (bias.rank !== 1 || bias.size !== columns)) {
      throw new Error(`linear needs a bias of ${columns} elements, not [${bias.shape}].`);
    }
    if (dropout) dropoutNumbers(dropout.rate);
    shape = [...shape.slice(0, -1), columns!];
  }
  if (residual) {
    const tail = shape.slice(shape.length - residual.rank);
    if (residual.rank === 0 || !tf.util.arraysEqual(tail, residual.shape)) {
      throw new Error(`linear cannot add a residual [${residual.shape}] to y [${shape}].`);
    }
  }
  return shape;
}
