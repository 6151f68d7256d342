/**
 * The convolutional tokenizer of compact transformers (Hassani et al., 2021): stages of a 3x3
 * convolution (stride 1, padding 1, no bias), relu, and 3x3 max pooling (stride 2, padding 1), then
 * the pixels row by row.
 *
 * The convolution is a matrix product whose left operand nobody writes: a row of it is the window of
 * a pixel, and the product's module computes where the window lies (`windows` of `matmul/code.ts`).
 * Between the stages images are *frames*, with a border of zeros, so that no load needs a test. The
 * pooling takes relu with it, writes the next stage's frame and keeps the place of each largest
 * value, a byte; so the convolution's result, the largest tensor of a stage, lives only from one
 * dispatch to the next. Backward, each pixel asks the at most four windows that it lies in for its
 * share (no two threads add to one number), which makes the frame that both products want: the
 * kernel's gradient, windows^T @ dz, and the input's, the convolution of dz by the turned kernel. A
 * fused convolution and pooling would compute the pixels between two workgroups twice, and they are
 * the whole cost.
 */
import { type TensorInfo, tf } from "../../tfjs.ts";
import { onTape } from "../lazy_gradient.ts";
import { registerKernels, runKernel } from "../register.ts";
import * as host from "./host.ts";
import { plainFrame, plainPool } from "./plain.ts";
import {
  type GradKernelInputs,
  type GradXInputs,
  KERNEL,
  pooled,
  type PoolGradInputs,
  type StageInputs,
} from "./sizes.ts";
import * as simd from "./simd.ts";
import * as webgpu from "./webgpu.ts";

/**
 * Images to tokens, one for each pixel that the stages leave.
 *
 * @param images float32 `[batch, height, width, channels]`.
 * @param kernels At least one, each float32 `[3, 3, in, out]`; a stage makes sides of half the length,
 * rounded up.
 * @returns float32 `[batch, tokens, out]`; differentiable with respect to images and kernels.
 * @throws {Error} when the shapes do not fit.
 */
export function convTokens(images: tf.Tensor4D, kernels: tf.Tensor4D[]): tf.Tensor3D {
  checkShapes(images, kernels);
  const [, height, width] = images.shape;
  const sides: { height: number; width: number }[] = [{ height, width }];
  for (let i = 1; i < kernels.length; i++) {
    const before = sides[i - 1]!;
    sides.push({ height: pooled(before.height), width: pooled(before.width) });
  }
  return onTape({
    inputs: { images, ...Object.fromEntries(kernels.map((kernel, i) => [`kernel${i}`, kernel])) },
    forward: (save) => {
      const frames: tf.Tensor[] = [runKernel<tf.Tensor>("VitConvFrame", { x: images })];
      const places: tf.Tensor[] = [];
      for (const [i, kernel] of kernels.entries()) {
        const last = i === kernels.length - 1;
        const [y, place] = runKernel("VitConvPool", { frame: frames[i], kernel }, { last });
        frames.push(y!);
        places.push(place!);
      }
      const tokens = frames.pop()!;
      save([...frames, ...places, ...kernels]);
      return tokens as tf.Tensor3D;
    },
    backward: (dy, saved) => {
      const count = kernels.length;
      const thunks: Record<string, () => tf.Tensor> = {};
      let upstream: tf.Tensor = dy;
      for (let i = count - 1; i >= 0; i--) {
        const [frame, places, kernel] = [saved[i], saved[count + i], saved[2 * count + i]!];
        const dz = runKernel<tf.Tensor>("VitConvPoolGrad", { dy: upstream, places }, sides[i]!);
        if (upstream !== dy) upstream.dispose();
        // Here and not in a thunk, so that dz can go before the stage before needs memory.
        const dKernel = runKernel<tf.Tensor>("VitConvGradKernel", { frame, dz }, {
          shape: kernel.shape,
        });
        thunks[`kernel${i}`] = () => dKernel;
        if (i > 0) {
          upstream = runKernel<tf.Tensor>("VitConvGradX", { dz, kernel });
          dz.dispose();
        } else {
          thunks.images = () => {
            const dx = runKernel<tf.Tensor>("VitConvGradX", { dz, kernel });
            return dx.slice([0, 0, 0, 0], images.shape);
          };
        }
      }
      return thunks;
    },
  });
}

function checkShapes(images: tf.Tensor, kernels: tf.Tensor[]): void {
  const shown = () => kernels.map(({ shape }) => `[${shape}]`).join(", ");
  let channels = images.shape[3];
  const isRight = kernels.length > 0 && images.rank === 4 && images.size > 0 &&
    kernels.every(({ rank, size, shape }) => {
      const fits = rank === 4 && size > 0 && shape[0] === KERNEL && shape[1] === KERNEL &&
        shape[2] === channels;
      channels = shape[3];
      return fits;
    });
  if (isRight) return;
  throw new Error(
    `convTokens cannot take images [${images.shape}] through kernels ${
      shown() || "of no stage"
    }; ` +
      `each must be [3, 3, in, out], its in the out of the one before.`,
  );
}

type Forms = typeof webgpu | typeof host;

/** The kernels of one kind of backend. */
function kernelsOf(forms: Forms) {
  return {
    VitConvFrame: ({ x }: { x: TensorInfo }) => forms.frameOf(x),
    VitConvPool: (inputs: StageInputs, { last }: { last: boolean }) => forms.convPool(inputs, last),
    VitConvPoolGrad: (inputs: PoolGradInputs, sides: { height: number; width: number }) =>
      forms.poolGrad(inputs, sides),
    VitConvGradKernel: (inputs: GradKernelInputs, { shape }: { shape: number[] }) =>
      forms.gradKernel(inputs, shape),
    VitConvGradX: (inputs: GradXInputs) => forms.gradX(inputs),
  };
}

registerKernels(kernelsOf(webgpu), kernelsOf(host), {
  VitConvFrame: plainFrame,
  VitConvPool: plainPool,
}, {
  VitConvFrame: (pool, { x }: { x: TensorInfo }) => simd.frameOf(pool, x),
  VitConvPool: (pool, inputs: StageInputs, { last }: { last: boolean }) =>
    simd.convPool(pool, inputs, last),
  VitConvPoolGrad: simd.poolGrad,
  VitConvGradKernel: (pool, inputs: GradKernelInputs, { shape }: { shape: number[] }) =>
    simd.gradKernel(pool, inputs, shape),
  VitConvGradX: simd.gradX,
});
