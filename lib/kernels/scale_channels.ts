/**
 * Learned factors of channels: y = x * factor (+ residual), each factor serving as many channels as
 * fall to it. LayerScale has one for each channel, the temperature of locality self-attention one
 * for all channels of a head.
 *
 * The factors' gradient is summed without atomics: a thread adds a run of rows in its column, and
 * one workgroup for each factor adds what those have left, in a fixed order.
 */
import { dispatch, uniformWords, unsigned } from "../backend/compute.ts";
import { hostAllocate, hostFloats } from "../backend/host.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "./grid.ts";
import { isTapeOn, onTape } from "./lazy_gradient.ts";
import { typeOf } from "./matmul/code.ts";
import { registerKernels, runKernel, type Tensors } from "./register.ts";

/**
 * Multiplies channels by factors.
 *
 * @param x float32 `[..., dim]`
 * @param factors float32 `[count]`, where count divides dim: the i-th is that of the i-th
 * dim / count channels
 * @param residual of x's shape, added last
 * @returns float32 of x's shape; differentiable with respect to all three.
 * @throws {Error} when the shapes do not fit.
 */
export function scaleChannels<T extends tf.Tensor>(
  x: T,
  factors: tf.Tensor1D,
  residual?: tf.Tensor,
): T {
  const dim = x.shape.at(-1) ?? 0;
  if (x.size === 0 || factors.rank !== 1 || dim % factors.size !== 0) {
    throw new Error(
      `scaleChannels cannot multiply x [${x.shape}] by factors [${factors.shape}], whose number ` +
        `must divide the last axis.`,
    );
  }
  if (residual && !tf.util.arraysEqual(x.shape, residual.shape)) {
    throw new Error(`scaleChannels cannot add a residual [${residual.shape}] to x [${x.shape}].`);
  }
  const run = (x: tf.Tensor, factors: tf.Tensor, residual?: tf.Tensor) =>
    runKernel<T>("VitScaleChannels", { x, factors, residual });
  if (!isTapeOn()) return run(x, factors, residual);
  return onTape<T>({
    inputs: { x, factors, ...(residual && { residual }) },
    forward: (save) => {
      save([x, factors]);
      return run(x, factors, residual);
    },
    backward: (dy, [x, factors]) => ({
      x: () => run(dy, factors!),
      factors: () => {
        const { shape } = factors!;
        return runKernel<tf.Tensor>("VitScaleChannelsGrad", { dy, x }, { shape });
      },
      residual: () => dy.clone(),
    }),
  });
}

interface Inputs {
  x: TensorInfo;
  factors: TensorInfo;
  residual?: TensorInfo;
}
interface GradInputs {
  dy: TensorInfo;
  x: TensorInfo;
}

const LANES = 64;
/** Rows that a thread of the gradient adds: few, so that a GPU has many threads. */
const ROWS = 64;

const sizeOf = tf.util.sizeFromShape;

const webgpu = {
  VitScaleChannels({ x, factors, residual }: Inputs): TensorInfo {
    const dim = x.shape.at(-1)!;
    const group = dim / sizeOf(factors.shape);
    const width = dim % 4 === 0 && (group === 1 || group % 4 === 0) ? 4 : 1;
    // Four channels have four factors, or one.
    const factorWidth = group === 1 ? width : 1;
    const threads = sizeOf(x.shape) / width;
    return dispatch({
      key: `scale_channels/${width}${factorWidth}${residual ? "+residual" : ""}`,
      wgsl: () => scaleWgsl(width, factorWidth, residual !== undefined),
      inputs: [x, factors, ...(residual ? [residual] : [])],
      outputs: [{ shape: x.shape, dtype: "float32", stored: x }],
      uniforms: uniformWords(unsigned(threads, dim / width, Math.max(1, group / width))),
      workgroups: gridOf(Math.ceil(threads / LANES)),
    })[0]!;
  },
  VitScaleChannelsGrad({ dy, x }: GradInputs, { shape }: { shape: number[] }): TensorInfo {
    const dim = x.shape.at(-1)!;
    const rows = sizeOf(x.shape) / dim;
    const count = sizeOf(shape);
    const width = dim % 4 === 0 ? 4 : 1;
    const runs = Math.ceil(rows / ROWS);
    const threads = runs * dim / width;
    const [parts] = dispatch({
      key: `scale_channels_grad/${width}`,
      wgsl: () => runsWgsl(width),
      inputs: [dy, x],
      outputs: [{ shape: [runs, dim], dtype: "float32" }],
      uniforms: uniformWords(unsigned(threads, rows, dim / width)),
      workgroups: gridOf(Math.ceil(threads / LANES)),
    });
    const [sums] = dispatch({
      key: "scale_channels_sum",
      wgsl: () => sumWgsl,
      inputs: [parts!],
      outputs: [{ shape, dtype: "float32" }],
      uniforms: uniformWords(unsigned(count, runs, dim, dim / count)),
      workgroups: gridOf(count),
    });
    tf.backend().disposeData(parts!.dataId);
    return sums!;
  },
};

function scaleWgsl(width: 1 | 4, factorWidth: 1 | 4, isAdded: boolean): string {
  const output = isAdded ? 3 : 2;
  return /* wgsl */ `
struct Uniforms { threads: u32, dim: u32, group: u32 }
@group(0) @binding(0) var<storage, read> x: array<${typeOf(width)}>;
@group(0) @binding(1) var<storage, read> factors: array<${typeOf(factorWidth)}>;
${isAdded ? `@group(0) @binding(2) var<storage, read> residual: array<${typeOf(width)}>;` : ""}
@group(0) @binding(${output}) var<storage, read_write> y: array<${typeOf(width)}>;
@group(0) @binding(${output + 1}) var<uniform> u: Uniforms;
${gridWgsl}${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups) * ${LANES}u + lane;
  if (i >= u.threads) { return; }
  y[i] = x[i] * factors[i % u.dim / u.group]${isAdded ? " + residual[i]" : ""};
}
`;
}

function runsWgsl(width: 1 | 4): string {
  return /* wgsl */ `
struct Uniforms { threads: u32, rows: u32, dim: u32 }
@group(0) @binding(0) var<storage, read> dy: array<${typeOf(width)}>;
@group(0) @binding(1) var<storage, read> x: array<${typeOf(width)}>;
@group(0) @binding(2) var<storage, read_write> parts: array<${typeOf(width)}>;
@group(0) @binding(3) var<uniform> u: Uniforms;
${gridWgsl}${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups) * ${LANES}u + lane;
  if (i >= u.threads) { return; }
  let first = i / u.dim * ${ROWS}u;
  let end = min(first + ${ROWS}u, u.rows);
  var sum = ${typeOf(width)}();
  for (var row = first; row < end; row++) {
    let e = row * u.dim + i % u.dim;
    sum += dy[e] * x[e];
  }
  parts[i] = sum;
}
`;
}

const sumWgsl = /* wgsl */ `
struct Uniforms { count: u32, runs: u32, dim: u32, group: u32 }
@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<uniform> u: Uniforms;
var<workgroup> of_lanes: array<f32, ${LANES}>;
${gridWgsl}${gridMainWgsl(LANES)} {
  let factor = block_of(workgroup, workgroups);
  if (factor >= u.count) { return; }
  var sum = 0.0;
  for (var e = lane; e < u.runs * u.group; e += ${LANES}u) {
    sum += parts[e / u.group * u.dim + factor * u.group + e % u.group];
  }
  of_lanes[lane] = sum;
  workgroupBarrier();
  if (lane == 0u) {
    for (var other = 1u; other < ${LANES}u; other++) { sum += of_lanes[other]; }
    sums[factor] = sum;
  }
}
`;

const host: typeof webgpu = {
  VitScaleChannels({ x, factors, residual }) {
    const output = hostAllocate(x.shape);
    const [from, scales, to] = [hostFloats(x), hostFloats(factors), hostFloats(output)];
    const added = residual && hostFloats(residual);
    const group = x.shape.at(-1)! / scales.length;
    for (let i = 0; i < to.length;) {
      for (const scale of scales) {
        for (const end = i + group; i < end; i++) {
          const value = from[i]! * scale;
          to[i] = added ? value + added[i]! : value;
        }
      }
    }
    return output;
  },
  VitScaleChannelsGrad({ dy, x }, { shape }) {
    const output = hostAllocate(shape);
    const [upstream, from] = [hostFloats(dy), hostFloats(x)];
    const sums = new Float64Array(sizeOf(shape));
    const group = x.shape.at(-1)! / sums.length;
    for (let i = 0; i < from.length;) {
      for (let factor = 0; factor < sums.length; factor++) {
        for (const end = i + group; i < end; i++) sums[factor]! += upstream[i]! * from[i]!;
      }
    }
    hostFloats(output).set(sums);
    return output;
  },
};

registerKernels(webgpu, host, {
  VitScaleChannels({ x, factors, residual }: Tensors<Inputs>) {
    const groups = x.reshape([-1, factors.size, x.shape.at(-1)! / factors.size]);
    const y = groups.mul(factors.reshape([-1, 1])).reshape(x.shape);
    return residual ? y.add(residual) : y;
  },
});
