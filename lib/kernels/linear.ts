/**
 * The dense layer in one operation: y = residual + dropout(activation(x @ kernel + bias)).
 *
 * While gradients are recorded, the forward pass also keeps the derivative of
 * dropout(gelu(z)) to z. It needs the exponential that GELU has computed anyway and takes the place
 * of z, so the backward pass neither draws the mask nor evaluates GELU again:
 * dz = dy * slope, dx = dz @ kernel^T, dkernel = x^T @ dz, dbias = the sum of dz's rows.
 */
import { dispatch, uniformWords } from "../backend/compute.ts";
import { hostAllocate, hostBackends, hostFloats } from "../backend/host.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { type Dropout, dropout, dropoutNumbers, dropsAny, hostMaskKey } from "./dropout.ts";
import { gridOf, gridWgsl } from "./grid.ts";
import { finishRows, sumRows } from "./linear_host.ts";
import { isTapeOn, record, registerKernels, runKernel, withoutNulls } from "./lazy_gradient.ts";
import { matmul, matmulOverRows, matrixOf } from "./matmul.ts";
import { hostForward, hostGradKernels, hostGradX } from "./matmul_host.ts";
import { sumLeading } from "./sum_leading.ts";

/** What follows the product and the bias, in this order. */
export interface LinearOptions {
  /** The exact GELU. */
  activation?: "gelu";
  /** The mask's index is that of y's elements in row-major order. */
  dropout?: Dropout;
  /** Added last: y's shape, or its last dimensions, repeated over the leading ones. */
  residual?: tf.Tensor;
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
  options: LinearOptions = {},
): tf.Tensor {
  const shape = checkedShape(x, kernel, bias, options.residual);
  const { activation, residual } = options;
  if (options.dropout) dropoutNumbers(options.dropout.rate);
  const drop = dropsAny(options.dropout) ? options.dropout : undefined;
  const attrs = {
    gelu: activation === "gelu",
    rate: drop?.rate ?? 0,
    stream: drop?.stream ?? 0,
    slope: activation === "gelu" && isTapeOn(),
  };
  const given = withoutNulls({ x, kernel, bias, residual });
  return record({
    inputs: given,
    forward: (save) => {
      const outputs = runKernel("VitLinear", { ...given, stepKey: drop?.stepKey }, attrs);
      save([x, kernel, ...outputs.slice(1), ...(drop && !attrs.slope ? [drop.stepKey] : [])]);
      return outputs[0]!.reshape(shape);
    },
    backward: (dy, [x, kernel, last]) => {
      // What only the kernel's gradient needs is computed here, not in its thunk, because the
      // bias's gradient comes with it and outlives the thunk's scope.
      const fused = attrs.slope && tf.getBackend() === "webgpu";
      const slope = fused ? last : undefined;
      const dz = attrs.slope && !fused
        ? runKernel("VitLinearSlope", { dy, slope: last })[0]!
        : drop && !attrs.slope
        ? dropout(dy, { ...drop, stepKey: last as tf.Tensor1D })
        : dy;
      const [dKernel, dBias] = runKernel("VitLinearGradKernel", { x, dz, slope }, {
        columns: kernel!.shape[1],
        bias: bias !== null,
      });
      return {
        x: () => {
          const [dx] = runKernel("VitLinearGradX", { dz, kernel, slope }, { shape: x!.shape });
          if (dz !== dy) dz.dispose();
          return dx!;
        },
        kernel: () => dKernel!,
        bias: () => dBias!,
        residual: () => {
          if (residual!.size === dy.size) return dy.reshape(residual!.shape);
          return runKernel("VitSumLeading", { dy }, { shape: residual!.shape })[0]!;
        },
      };
    },
  });
}

function checkedShape(
  x: tf.Tensor,
  kernel: tf.Tensor,
  bias: tf.Tensor | null,
  residual?: tf.Tensor,
): number[] {
  const inner = x.shape.at(-1);
  const [rows, columns] = kernel.shape;
  if (kernel.rank !== 2 || x.size === 0 || inner !== rows) {
    throw new Error(`linear cannot multiply x [${x.shape}] by a kernel [${kernel.shape}].`);
  }
  if (bias && (bias.rank !== 1 || bias.size !== columns)) {
    throw new Error(`linear needs a bias of ${columns} elements, not [${bias.shape}].`);
  }
  const shape = [...x.shape.slice(0, -1), columns!];
  if (residual) {
    const tail = shape.slice(shape.length - residual.rank);
    if (residual.rank === 0 || !tf.util.arraysEqual(tail, residual.shape)) {
      throw new Error(`linear cannot add a residual [${residual.shape}] to y [${shape}].`);
    }
  }
  return shape;
}

interface Inputs {
  x: TensorInfo;
  kernel: TensorInfo;
  bias?: TensorInfo;
  residual?: TensorInfo;
  stepKey?: TensorInfo;
}
interface Attributes {
  gelu: boolean;
  rate: number;
  stream: number;
  /** Also output the derivative to what the activation is applied to. */
  slope: boolean;
}

const webgpu = {
  VitLinear({ x, kernel, bias, residual, stepKey }: Inputs, attrs: Attributes): TensorInfo[] {
    const [inner, columns] = kernel.shape as [number, number];
    const a = matrixOf(x, inner);
    return matmul({ layout: "nn", a, b: kernel, rows: a.shape[0]!, depth: inner, columns }, {
      bias,
      residual,
      gelu: attrs.gelu,
      slope: attrs.slope,
      dropout: stepKey && { ...dropoutNumbers(attrs.rate), stream: attrs.stream, stepKey },
    });
  },
  VitLinearSlope({ dy, slope }: { dy: TensorInfo; slope: TensorInfo }): TensorInfo[] {
    const size = tf.util.sizeFromShape(dy.shape);
    const width = size % 4 === 0 ? 4 : 1;
    return dispatch({
      key: `linear/slope/${width}`,
      wgsl: () => multiplyWgsl(width),
      inputs: [dy, slope],
      outputs: [{ shape: slope.shape, dtype: "float32" }],
      uniforms: uniformWords([["u", size / width]]),
      workgroups: gridOf(Math.ceil(size / width / 64)),
    });
  },
  VitLinearGradX(
    { dz, kernel, slope }: { dz: TensorInfo; kernel: TensorInfo; slope?: TensorInfo },
    { shape }: { shape: number[] },
  ): TensorInfo[] {
    const [columns, depth] = kernel.shape as [number, number];
    const a = matrixOf(dz, depth);
    const rows = a.shape[0]!;
    const [dx] = matmul({ layout: "nt", a, b: kernel, factor: slope, rows, depth, columns });
    return [{ ...dx!, shape }];
  },
  VitLinearGradKernel(
    { x, dz, slope }: { x: TensorInfo; dz: TensorInfo; slope?: TensorInfo },
    { columns, bias }: { columns: number; bias: boolean },
  ): TensorInfo[] {
    const b = matrixOf(dz, columns);
    const depth = b.shape[0]!;
    const rows = tf.util.sizeFromShape(x.shape) / depth;
    return matmulOverRows({ layout: "tn", a: x, b, factor: slope, rows, depth, columns }, bias);
  },
  VitSumLeading({ dy }: { dy: TensorInfo }, { shape }: { shape: number[] }): TensorInfo[] {
    const count = tf.util.sizeFromShape(dy.shape) / tf.util.sizeFromShape(shape);
    return sumLeading([{ ...dy, shape: [count, ...shape] }], count);
  },
};

function multiplyWgsl(width: 1 | 4): string {
  const type = width === 4 ? "vec4<f32>" : "f32";
  return /* wgsl */ `
struct Uniforms { threads: u32 }
@group(0) @binding(0) var<storage, read> dy: array<${type}>;
@group(0) @binding(1) var<storage, read> slope: array<${type}>;
@group(0) @binding(2) var<storage, read_write> dz: array<${type}>;
@group(0) @binding(3) var<uniform> u: Uniforms;
${gridWgsl}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = block_of(workgroup, workgroups) * 64u + lane;
  if (i < u.threads) { dz[i] = dy[i] * slope[i]; }
}
`;
}

const host: typeof webgpu = {
  VitLinear({ x, kernel, bias, residual, stepKey }, attrs) {
    const [inner, columns] = kernel.shape as [number, number];
    const slope = attrs.slope
      ? hostAllocate([tf.util.sizeFromShape(x.shape) / inner, columns])
      : undefined;
    const y = hostForward(matrixOf(x, inner), kernel);
    finishRows(
      hostFloats(y),
      columns,
      {
        bias: bias && hostFloats(bias),
        gelu: attrs.gelu,
        slope: slope && hostFloats(slope),
        drop: stepKey && { ...dropoutNumbers(attrs.rate), key: hostMaskKey(stepKey, attrs.stream) },
        residual: residual && hostFloats(residual),
      },
    );
    return slope ? [y, slope] : [y];
  },
  VitLinearSlope({ dy, slope }) {
    const dz = hostAllocate(slope.shape);
    const [from, factor, to] = [hostFloats(dy), hostFloats(slope), hostFloats(dz)];
    for (let i = 0; i < to.length; i++) to[i] = from[i]! * factor[i]!;
    return [dz];
  },
  VitLinearGradX({ dz, kernel }, { shape }) {
    return [{ ...hostGradX(matrixOf(dz, kernel.shape[1]!), kernel), shape }];
  },
  VitLinearGradKernel({ x, dz }, { columns, bias }) {
    const rows = tf.util.sizeFromShape(dz.shape) / columns;
    const inner = tf.util.sizeFromShape(x.shape) / rows;
    const dKernels = hostGradKernels(matrixOf(x, inner), [matrixOf(dz, columns)]);
    return bias ? [...dKernels, sumRows(dz, [columns])] : dKernels;
  },
  VitSumLeading({ dy }, { shape }) {
    return [sumRows(dy, shape)];
  },
};

registerKernels("webgpu", webgpu);
for (const backendName of hostBackends) registerKernels(backendName, host);
