/**
 * Stochastic depth (Huang et al., 2016): a residual branch left out for whole images, and scaled up
 * for the others. The mask is a function of (seed, stream, step, image) as in dropout.ts, so the
 * backward pass draws it again.
 */
import { dispatch, uniformWords, unsigned } from "../backend/compute.ts";
import { hostAllocate, hostFloats } from "../backend/host.ts";
import { randomBits, randomWgsl } from "../random.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { type Dropout, dropoutNumbers, hostMaskKey, isOfPart } from "./dropout.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "./grid.ts";
import { isTapeOn, onTape } from "./lazy_gradient.ts";
import { registerKernels, runKernel } from "./register.ts";

/**
 * `residual + mask * branch / (1 - rate)`, where the mask is 0 or 1 for each image.
 *
 * @param branch float32 [batch, ...]
 * @param residual of the same shape
 * @param path image i takes the stream's i-th number
 * @returns float32 of that shape; differentiable with respect to both.
 * @throws {Error} when the shapes differ.
 * @throws {RangeError} when the rate is outside [0, 1).
 */
export function dropPath<T extends tf.Tensor>(branch: T, residual: T, path: Dropout): T {
  dropoutNumbers(path.rate);
  if (branch.size === 0 || !tf.util.arraysEqual(branch.shape, residual.shape)) {
    throw new Error(
      `A residual [${residual.shape}] cannot take a branch [${branch.shape}]; both need one shape.`,
    );
  }
  const { stepKey, rate, stream } = path;
  const attributes: Attributes = { rate, stream };
  const run = (x: tf.Tensor, stepKey: tf.Tensor, added?: tf.Tensor) =>
    runKernel<T>("VitDropPath", { x, stepKey, added }, attributes);
  if (!isTapeOn()) return run(branch, stepKey, residual);
  return onTape<T>({
    inputs: { branch, residual },
    forward: (save) => {
      // A layer's own key lives no longer than its call.
      save([stepKey]);
      return run(branch, stepKey, residual);
    },
    backward: (dy, [key]) => ({ branch: () => run(dy, key!), residual: () => dy.clone() }),
  });
}

interface Inputs {
  x: TensorInfo;
  stepKey: TensorInfo;
  added?: TensorInfo;
}
type Attributes = Pick<Dropout, "rate" | "stream">;

function webgpuDropPath({ x, stepKey, added }: Inputs, { rate, stream }: Attributes): TensorInfo {
  const { threshold, scale } = dropoutNumbers(rate);
  const size = tf.util.sizeFromShape(x.shape);
  const ofImage = size / x.shape[0]!;
  const width = ofImage % 4 === 0 ? 4 : 1;
  const threads = size / width;
  return dispatch({
    key: `drop_path/${width}${added ? "+added" : ""}${isOfPart(stepKey) ? "+part" : ""}`,
    wgsl: () => wgsl(width, added !== undefined, isOfPart(stepKey)),
    inputs: [x, stepKey, ...(added ? [added] : [])],
    outputs: [{ shape: x.shape, dtype: "float32", stored: x }],
    uniforms: uniformWords([
      ...unsigned(threads, ofImage / width, stream, threshold),
      ["f", scale],
    ]),
    workgroups: gridOf(Math.ceil(threads / 64)),
  })[0]!;
}

function wgsl(width: 1 | 4, isAdded: boolean, isPart: boolean): string {
  const type = width === 4 ? "vec4<f32>" : "f32";
  const output = isAdded ? 3 : 2;
  return /* wgsl */ `
struct Uniforms { threads: u32, of_image: u32, stream: u32, threshold: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> x: array<${type}>;
@group(0) @binding(1) var<storage, read> step_key: array<u32>;
${isAdded ? `@group(0) @binding(2) var<storage, read> added: array<${type}>;` : ""}
@group(0) @binding(${output}) var<storage, read_write> y: array<${type}>;
@group(0) @binding(${output + 1}) var<uniform> u: Uniforms;
${randomWgsl}${gridWgsl}
${gridMainWgsl(64)} {
  let i = block_of(workgroup, workgroups) * 64u + lane;
  if (i >= u.threads) { return; }
  let key = stream_key(step_key[0], u.stream, step_key[1]);
  let is_dropped = random_bits(key, i / u.of_image${isPart ? " + step_key[2]" : ""}) < u.threshold;
  y[i] = select(x[i] * u.scale, ${type}(), is_dropped)${isAdded ? " + added[i]" : ""};
}
`;
}

function hostDropPath({ x, stepKey, added }: Inputs, { rate, stream }: Attributes): TensorInfo {
  const output = hostAllocate(x.shape);
  const { threshold, scale } = dropoutNumbers(rate);
  const key = hostMaskKey(stepKey, stream);
  const from = hostFloats(x);
  const residual = added && hostFloats(added);
  const to = hostFloats(output);
  const batch = x.shape[0]!;
  const ofImage = to.length / batch;
  for (let image = 0; image < batch; image++) {
    const factor = randomBits(key, image) < threshold ? 0 : scale;
    for (let i = image * ofImage; i < (image + 1) * ofImage; i++) {
      // What is dropped may be infinite.
      const kept = factor === 0 ? 0 : from[i]! * factor;
      to[i] = residual ? kept + residual[i]! : kept;
    }
  }
  return output;
}

registerKernels({ VitDropPath: webgpuDropPath }, { VitDropPath: hostDropPath });
