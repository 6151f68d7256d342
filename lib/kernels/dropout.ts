/**
 * Dropout whose mask is a function of (seed, stream, step, index), so it is never stored: the
 * backward pass draws it again, and every backend drops the same elements.
 */
import { hostAllocate, hostFloats, hostInts } from "../backend/host.ts";
import { dispatch, uniformWords, unsigned } from "../backend/compute.ts";
import {
  dropThreshold,
  keepScale,
  randomBits,
  randomWgsl,
  type StreamKey,
  streamKey,
} from "../random.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "./grid.ts";
import { registerGradient, registerKernels, runKernel } from "./register.ts";

/** Choice of the elements that an operation drops. */
export interface Dropout {
  /** The share of elements that become zero, in [0, 1); 0 means no dropout. */
  rate: number;
  /** The stream of random numbers; each place in the model has its own. */
  stream: number;
  /**
   * int32 [2]: seed and step. A tensor, since it changes from step to step. int32 [3] for a part of a
   * batch: the third is the place of its first image in the whole, whose mask it has.
   */
  stepKey: tf.Tensor1D;
}

/** Whether a step key is that of a part of a batch. */
export function isOfPart({ shape }: TensorInfo): boolean {
  return shape[0] === 3;
}

/** Numbers of a {@linkcode Dropout} for the inner loops. */
export interface DropoutNumbers {
  /** Elements whose random bits are below it are dropped. */
  threshold: number;
  /** The float32 factor of the kept elements. */
  scale: number;
}

/** True when `dropout` would drop anything. */
export function dropsAny(dropout: Dropout | undefined): dropout is Dropout {
  return dropout !== undefined && dropThreshold(dropout.rate) > 0;
}

/**
 * The threshold and scale of a rate.
 *
 * @throws {RangeError} when the rate is outside [0, 1).
 */
export function dropoutNumbers(rate: number): DropoutNumbers {
  if (!(rate >= 0 && rate < 1)) {
    throw new RangeError(`A dropout rate must be in [0, 1), not ${rate}.`);
  }
  return { threshold: dropThreshold(rate), scale: Math.fround(keepScale(rate)) };
}

/**
 * The key of a mask on a host backend, from the step key's tensor.
 * @param ofImage numbers that the mask takes for each image
 */
export function hostMaskKey(stepKey: TensorInfo, stream: number, ofImage = 1): StreamKey {
  const words = hostInts(stepKey);
  const first = isOfPart(stepKey) ? words[2]! * ofImage : 0;
  return streamKey(words[0]!, stream, words[1]!, first);
}

/**
 * Drops elements of `x` and scales the others so that the expected value stays.
 *
 * @param x float32 of any shape; element i in row-major order takes the stream's i-th number.
 * @returns A tensor of x's shape; `x` itself, cloned, when the rate is 0.
 * @throws {RangeError} when the rate is outside [0, 1).
 */
export function dropout<T extends tf.Tensor>(x: T, d: Dropout): T {
  dropoutNumbers(d.rate);
  if (!dropsAny(d) || x.size === 0) return x.clone();
  return runKernel<T>("VitDropout", { x, stepKey: d.stepKey }, { rate: d.rate, stream: d.stream });
}

interface Inputs {
  x: TensorInfo;
  stepKey: TensorInfo;
}
type Attributes = Pick<Dropout, "rate" | "stream">;

function webgpuDropout({ x, stepKey }: Inputs, { rate, stream }: Attributes): TensorInfo {
  const { threshold, scale } = dropoutNumbers(rate);
  const size = tf.util.sizeFromShape(x.shape);
  const width = size % 4 === 0 ? 4 : 1;
  const threads = size / width;
  const isPart = isOfPart(stepKey);
  return dispatch({
    key: `dropout/${width}${isPart ? "+part" : ""}`,
    wgsl: () => wgsl(width, isPart),
    inputs: [x, stepKey],
    outputs: [{ shape: x.shape, dtype: "float32", stored: x }],
    uniforms: uniformWords([
      ...unsigned(threads, stream, threshold),
      ["f", scale],
      ["u", size / x.shape[0]!],
    ]),
    workgroups: gridOf(Math.ceil(threads / 64)),
  })[0]!;
}

/**
 * WGSL: the random bits of elements e to e + width - 1, under a mask's `key`; of a part of a batch
 * under its `step_key`, too.
 */
export function bitsWgsl(width: 1 | 4, isPart: boolean): string {
  const first = isPart ? "e + step_key[2] * u.of_image" : "e";
  if (width === 1) return `random_bits(key, ${first})`;
  const others = [1, 2, 3].map((i) => `random_bits(key, ${first} + ${i}u)`);
  return `vec4<u32>(${[`random_bits(key, ${first})`, ...others].join(", ")})`;
}

function wgsl(width: 1 | 4, isPart: boolean): string {
  const type = width === 4 ? "vec4<f32>" : "f32";
  return /* wgsl */ `
struct Uniforms { threads: u32, stream: u32, threshold: u32, scale: f32, of_image: u32 }
@group(0) @binding(0) var<storage, read> x: array<${type}>;
@group(0) @binding(1) var<storage, read> step_key: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<${type}>;
@group(0) @binding(3) var<uniform> u: Uniforms;
${randomWgsl}${gridWgsl}
${gridMainWgsl(64)} {
  let i = block_of(workgroup, workgroups) * 64u + lane;
  if (i >= u.threads) { return; }
  let key = stream_key(step_key[0], u.stream, step_key[1]);
  let e = i * ${width}u;
  let bits = ${bitsWgsl(width, isPart)};
  y[i] = select(x[i] * u.scale, ${type}(), bits < ${
    width === 4 ? "vec4<u32>(u.threshold)" : "u.threshold"
  });
}
`;
}

function hostDropout({ x, stepKey }: Inputs, { rate, stream }: Attributes): TensorInfo {
  const output = hostAllocate(x.shape);
  const { threshold, scale } = dropoutNumbers(rate);
  const key = hostMaskKey(stepKey, stream, tf.util.sizeFromShape(x.shape) / x.shape[0]!);
  const from = hostFloats(x);
  const to = hostFloats(output);
  for (let i = 0; i < to.length; i++) {
    to[i] = randomBits(key, i) < threshold ? 0 : from[i]! * scale;
  }
  return output;
}

registerKernels({ VitDropout: webgpuDropout }, { VitDropout: hostDropout });

registerGradient<Attributes>("VitDropout", {
  inputs: ["stepKey"],
  backward: ([dy], [stepKey], attributes) => ({
    x: () => dropout(dy!, { ...attributes, stepKey: stepKey as tf.Tensor1D }),
  }),
});
