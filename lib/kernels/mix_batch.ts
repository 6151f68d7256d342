/**
 * Images mixed with their partners: outside of a box by weight, and inside of it the partner's own
 * pixels. It covers mixup (an empty box) and CutMix (weight 1), so a step that takes now one, now the
 * other, is one captured step. No gradient.
 */
import { dispatch, uniformWords, unsigned } from "../backend/compute.ts";
import { hostAllocate, hostFloats } from "../backend/host.ts";
import type { TensorInfo, tf } from "../tfjs.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "./grid.ts";
import { registerKernels, runKernel } from "./register.ts";

/**
 * Each image but the last, mixed with the one after it:
 * `share * images[i] + (1 - share) * images[i + 1]`, and `images[i + 1]` in the box.
 *
 * @param images float32 `[batch + 1, size, size, channels]`; for a batch whose last image has the
 * first one as its partner, the first one stands at the end again
 * @param mix float32 `[5]`: the share, 0 to 1, then the box in pixels: left, top, right, bottom, the
 * last two excluded. Share 1 and an empty box give the images as they are.
 * @returns float32 `[batch, size, size, channels]`
 * @throws {Error} when shapes or types do not fit
 */
export function mixBatch(images: tf.Tensor4D, mix: tf.Tensor1D): tf.Tensor4D {
  if (images.rank !== 4 || images.dtype !== "float32" || images.shape[0] < 2) {
    throw new Error(
      `Images must be float32 [batch + 1, size, size, channels], not ${images.dtype} ` +
        `[${images.shape}].`,
    );
  }
  if (mix.dtype !== "float32" || mix.rank !== 1 || mix.size !== 5) {
    throw new Error(`A mix must be float32 [5], not ${mix.dtype} [${mix.shape}].`);
  }
  return runKernel<tf.Tensor4D>("VitMixBatch", { images, mix });
}

type Numbers = [share: number, left: number, top: number, right: number, bottom: number];

interface Inputs {
  images: TensorInfo;
  mix: TensorInfo;
}

function outputShape({ shape }: TensorInfo): [number, number, number, number] {
  const [rows, height, width, channels] = shape as [number, number, number, number];
  return [rows - 1, height, width, channels];
}

function webgpuMix({ images, mix }: Inputs): TensorInfo {
  const shape = outputShape(images);
  const [batch, height, width, channels] = shape;
  const numbers = batch * height * width * channels;
  return dispatch({
    key: "mix_batch",
    wgsl: () => wgsl,
    inputs: [images, mix],
    outputs: [{ shape, dtype: "float32" }],
    uniforms: uniformWords(unsigned(numbers, height, width, channels)),
    workgroups: gridOf(Math.ceil(numbers / 64)),
  })[0]!;
}

const wgsl = /* wgsl */ `
struct Uniforms { numbers: u32, height: u32, width: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> images: array<f32>;
@group(0) @binding(1) var<storage, read> mix_numbers: array<f32>;
@group(0) @binding(2) var<storage, read_write> mixed: array<f32>;
@group(0) @binding(3) var<uniform> u: Uniforms;
${gridWgsl}
${gridMainWgsl(64)} {
  let i = block_of(workgroup, workgroups) * 64u + lane;
  if (i >= u.numbers) { return; }
  let pixel = i / u.channels;
  let x = f32(pixel % u.width);
  let y = f32((pixel / u.width) % u.height);
  let is_inside = x >= mix_numbers[1] && y >= mix_numbers[2] &&
    x < mix_numbers[3] && y < mix_numbers[4];
  let share = select(mix_numbers[0], 0.0, is_inside);
  let partner = images[i + u.height * u.width * u.channels];
  mixed[i] = select(share * images[i] + (1.0 - share) * partner, images[i], share == 1.0);
}
`;

function hostMix({ images, mix }: Inputs): TensorInfo {
  const shape = outputShape(images);
  const [batch, height, width, channels] = shape;
  const output = hostAllocate(shape);
  const from = hostFloats(images);
  const to = hostFloats(output);
  const [weight, left, top, right, bottom] = hostFloats(mix) as unknown as Numbers;
  const ofImage = height * width * channels;
  let i = 0;
  for (let image = 0; image < batch; image++) {
    for (let y = 0; y < height; y++) {
      const isRow = y >= top && y < bottom;
      for (let x = 0; x < width; x++) {
        const share = isRow && x >= left && x < right ? 0 : weight;
        for (let c = 0; c < channels; c++, i++) {
          const own = from[i]!;
          to[i] = share === 1 ? own : share * own + (1 - share) * from[i + ofImage]!;
        }
      }
    }
  }
  return output;
}

registerKernels({ VitMixBatch: webgpuMix }, { VitMixBatch: hostMix });
