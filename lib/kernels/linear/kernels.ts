/** The kernels under `linear`, on every backend. */
import { dispatch, uniformWords } from "../../backend/compute.ts";
import { hostAllocate, hostFloats } from "../../backend/host.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { dropoutNumbers, hostMaskKey } from "../dropout.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "../grid.ts";
import { refuse, registerKernels, type Tensors } from "../register.ts";
import { finishRows, multiplyInto, sumRows } from "./host.ts";
import { plainLinear } from "./plain.ts";
import { withNormalized } from "../layer_norm/wgsl.ts";
import { matmul, matmulOverRows, matrixOf } from "../matmul/matmul.ts";
import { hostForward, hostGradKernels, hostGradX } from "../matmul/host.ts";
import { simdForward, simdGradKernel, simdGradX, simdMultiply, simdSumRows } from "./simd.ts";
import { sumLeading } from "../sum_leading.ts";

interface Inputs {
  x: TensorInfo;
  kernel: TensorInfo;
  bias?: TensorInfo;
  residual?: TensorInfo;
  stepKey?: TensorInfo;
}
/** Steps of VitLinear after the product and the bias. */
export interface Attributes {
  gelu: boolean | "tanh";
  rate: number;
  stream: number;
  /** Rows of x that belong to one image. */
  rowsOfImage: number;
  /** Also output the derivative to what the activation is applied to. */
  slope: boolean;
}
interface GradXInputs {
  dz: TensorInfo;
  kernel: TensorInfo;
  /** Of x's size: multiplies the result. */
  slope?: TensorInfo;
}
interface GradKernelInputs {
  x: TensorInfo;
  dz: TensorInfo;
}
interface GradKernelAttributes {
  columns: number;
  /** Also output the bias's gradient. */
  bias: boolean;
}
interface SlopeInputs {
  dy: TensorInfo;
  slope: TensorInfo;
}

const webgpu = {
  VitLinear({ x, kernel, bias, residual, stepKey }: Inputs, attrs: Attributes): TensorInfo[] {
    const [inner, columns] = kernel.shape as [number, number];
    const a = matrixOf(x, inner);
    // y = x @ kernel
    return matmul({ layout: "nn", a, b: kernel, rows: a.shape[0]!, depth: inner, columns }, {
      bias,
      residual,
      gelu: attrs.gelu,
      slope: attrs.slope,
      dropout: stepKey && {
        ...dropoutNumbers(attrs.rate),
        stream: attrs.stream,
        stepKey,
        ofImage: attrs.rowsOfImage * columns,
      },
    });
  },
  VitLinearSlope({ dy, slope }: SlopeInputs): TensorInfo[] {
    const size = tf.util.sizeFromShape(dy.shape);
    const width = size % 4 === 0 ? 4 : 1;
    return dispatch({
      key: `linear/slope/${width}`,
      wgsl: () => multiplyWgsl(width),
      inputs: [dy, slope],
      outputs: [{ shape: slope.shape, dtype: "float32", stored: "gradient" }],
      uniforms: uniformWords([["u", size / width]]),
      workgroups: gridOf(Math.ceil(size / width / 64)),
    });
  },
  VitLinearGradX(
    { dz, kernel, slope }: GradXInputs,
    { shape }: { shape: number[] },
  ): TensorInfo[] {
    const [columns, depth] = kernel.shape as [number, number];
    const a = matrixOf(dz, depth);
    // dx = dz @ kernel^T, summed over the kernel's columns.
    const product = { layout: "nt", a, b: kernel, rows: a.shape[0]!, depth, columns } as const;
    return [{ ...matmul(product, { factor: slope })[0]!, shape }];
  },
  VitLinearGradKernel(
    { x, dz }: GradKernelInputs,
    { columns, bias }: GradKernelAttributes,
  ): TensorInfo[] {
    const b = matrixOf(dz, columns);
    const depth = b.shape[0]!;
    const rows = tf.util.sizeFromShape(x.shape) / depth;
    // dkernel = x^T @ dz, summed over the rows of the batch.
    const product = { layout: "tn", b, rows, depth, columns } as const;
    return withNormalized(x, (a) => matmulOverRows({ ...product, a }, bias));
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
${gridMainWgsl(64)} {
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
        drop: stepKey && {
          ...dropoutNumbers(attrs.rate),
          key: hostMaskKey(stepKey, attrs.stream, attrs.rowsOfImage * columns),
        },
        residual: residual && hostFloats(residual),
      },
    );
    return slope ? [y, slope] : [y];
  },
  VitLinearSlope({ dy, slope }) {
    const dz = hostAllocate(slope.shape);
    multiplyInto(hostFloats(dz), hostFloats(dy), hostFloats(slope));
    return [dz];
  },
  VitLinearGradX({ dz, kernel, slope }, { shape }) {
    const dx = hostGradX(matrixOf(dz, kernel.shape[1]!), kernel);
    if (slope) multiplyInto(hostFloats(dx), hostFloats(dx), hostFloats(slope));
    return [{ ...dx, shape }];
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

registerKernels(webgpu, host, {
  VitLinear({ x, kernel, bias, residual, stepKey }: Tensors<Inputs>, attrs: Attributes) {
    if (attrs.slope || stepKey) refuse();
    return [plainLinear(x, kernel, bias, { gelu: attrs.gelu, residual })];
  },
}, {
  VitLinear(pool, { x, kernel, bias, residual, stepKey }: Inputs, attrs: Attributes) {
    const [inner, columns] = kernel.shape as [number, number];
    const slope = attrs.slope
      ? hostAllocate([tf.util.sizeFromShape(x.shape) / inner, columns])
      : undefined;
    const drop = stepKey &&
      {
        ...dropoutNumbers(attrs.rate),
        key: hostMaskKey(stepKey, attrs.stream, attrs.rowsOfImage * columns),
      };
    const y = simdForward(pool, x, kernel, { bias, gelu: attrs.gelu, drop, residual, slope });
    return slope ? [y, slope] : [y];
  },
  VitLinearSlope(pool, { dy, slope }: SlopeInputs) {
    const dz = hostAllocate(slope.shape);
    simdMultiply(pool, dz, dy, slope);
    return [dz];
  },
  VitLinearGradX(pool, { dz, kernel, slope }: GradXInputs, { shape }: { shape: number[] }) {
    return [{ ...simdGradX(pool, dz, kernel, slope), shape }];
  },
  VitLinearGradKernel(
    pool,
    { x, dz }: GradKernelInputs,
    { columns, bias }: GradKernelAttributes,
  ) {
    const dKernel = simdGradKernel(pool, x, matrixOf(dz, columns));
    return bias ? [dKernel, simdSumRows(pool, dz, [columns])] : [dKernel];
  },
  VitSumLeading(pool, { dy }: { dy: TensorInfo }, { shape }: { shape: number[] }) {
    return [simdSumRows(pool, dy, shape)];
  },
});
