/**
 * Patches of an image and its four shifts by half a patch along the diagonals, side by side in the
 * channels (shifted patch tokenization: Lee et al., 2021, "Vision Transformer for Small-Size
 * Datasets"). One gather from the image, zero outside of it: no shifted copy is ever written.
 */
import { dispatch, uniformWords, unsigned } from "../backend/compute.ts";
import { hostAllocate, hostFloats } from "../backend/host.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "./grid.ts";
import { registerGradient, registerKernels, runKernel, type Tensors } from "./register.ts";

/**
 * Where each part of a pixel's channels lies in the image, in halves of a patch: itself, then what
 * comes to it as the image is shifted up and left, up and right, down and left, down and right.
 */
export const SHIFT_OFFSETS: readonly (readonly [down: number, right: number])[] = [
  [0, 0],
  [1, 1],
  [1, -1],
  [-1, 1],
  [-1, -1],
];

/** Images that a patch is cut from: the image itself and its shifts. */
export const SHIFTED_PARTS: number = SHIFT_OFFSETS.length;

/**
 * Cuts images and their shifts into patches.
 *
 * @param images float32 `[batch, height, width, channels]`
 * @param patchSize side of a patch in pixels, from 2; must divide both sides; an odd one's half is
 * rounded down
 * @returns float32 `[batch, tokens, patchSize * patchSize * 5 * channels]`: patches row by row, a
 * patch's pixels too, and of each pixel the image's channels and then those of the shifts;
 * differentiable.
 * @throws {Error} when the shapes do not fit.
 */
export function shiftedPatches(images: tf.Tensor4D, patchSize: number): tf.Tensor3D {
  const [, height, width] = images.shape;
  const fits = Number.isInteger(patchSize) && patchSize > 1 && height % patchSize === 0 &&
    width % patchSize === 0;
  if (images.rank !== 4 || images.size === 0 || !fits) {
    throw new Error(`shiftedPatches cannot cut images [${images.shape}] into ${patchSize} pixels.`);
  }
  return runKernel<tf.Tensor3D>("VitShiftedPatches", { images }, {
    shape: images.shape,
    patchSize,
  });
}

interface Attributes {
  /** Of the images. */
  shape: number[];
  patchSize: number;
}
interface Inputs {
  images: TensorInfo;
}
interface GradInputs {
  dy: TensorInfo;
}

const LANES = 64;

function outputShape({ shape, patchSize }: Attributes): number[] {
  const [batch, height, width, channels] = shape as [number, number, number, number];
  const tokens = height / patchSize * (width / patchSize);
  return [batch, tokens, patchSize ** 2 * SHIFTED_PARTS * channels];
}

/** A kernel of one thread for each pixel, or for each pixel and part of it. */
function run(name: string, x: TensorInfo, shape: number[], threads: number, a: Attributes) {
  const [, height, width, channels] = a.shape as [number, number, number, number];
  return dispatch({
    key: `shifted_patches/${name}`,
    wgsl: () => wgslOf[name]!,
    inputs: [x],
    outputs: [{ shape, dtype: "float32" }],
    uniforms: uniformWords(unsigned(threads, height, width, channels, a.patchSize)),
    workgroups: gridOf(Math.ceil(threads / LANES)),
  })[0]!;
}

const sharedWgsl = /* wgsl */ `
struct Uniforms { threads: u32, height: u32, width: u32, channels: u32, side: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> u: Uniforms;
${gridWgsl}
// In halves of a patch, wrapping around below 0, to more than any side.
fn offset_of(part: u32) -> vec2<u32> {
  switch part {
    ${
  SHIFT_OFFSETS.map(([down, right], part) => {
    const text = [down, right].map((n) => n < 0 ? "0xffffffffu" : `${n}u`).join(", ");
    return `${part === 0 ? "default" : `case ${part}u`}: { return vec2<u32>(${text}); }`;
  }).join("\n    ")
}
  }
}
`;

const wgslOf: Record<string, string> = {
  forward: /* wgsl */ `${sharedWgsl}${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups) * ${LANES}u + lane;
  if (i >= u.threads) { return; }
  // In the order of the output, so that neighbours write to neighbours.
  let pixel = i / ${SHIFTED_PARTS}u;
  let token = pixel / (u.side * u.side);
  let across = u.width / u.side;
  let down = u.height / u.side;
  let offset = offset_of(i % ${SHIFTED_PARTS}u) * (u.side / 2u);
  let row = token / across % down * u.side + pixel / u.side % u.side + offset.x;
  let column = token % across * u.side + pixel % u.side + offset.y;
  let image = token / (across * down);
  let is_inside = row < u.height && column < u.width;
  let first = ((image * u.height + row) * u.width + column) * u.channels;
  for (var c = 0u; c < u.channels; c++) {
    var value = 0.0;
    if (is_inside) { value = x[first + c]; }
    y[i * u.channels + c] = value;
  }
}
`,
  backward: /* wgsl */ `${sharedWgsl}${gridMainWgsl(LANES)} {
  let i = block_of(workgroup, workgroups) * ${LANES}u + lane;
  if (i >= u.threads) { return; }
  let c = i % u.channels;
  let pixel = i / u.channels;
  let image = pixel / (u.width * u.height);
  let across = u.width / u.side;
  var sum = 0.0;
  for (var part = 0u; part < ${SHIFTED_PARTS}u; part++) {
    let offset = offset_of(part) * (u.side / 2u);
    let row = pixel / u.width % u.height - offset.x;
    let column = pixel % u.width - offset.y;
    if (row < u.height && column < u.width) {
      let token = (image * (u.height / u.side) + row / u.side) * across + column / u.side;
      let to = (token * u.side + row % u.side) * u.side + column % u.side;
      sum += x[(to * ${SHIFTED_PARTS}u + part) * u.channels + c];
    }
  }
  y[i] = sum;
}
`,
};

const webgpu = {
  VitShiftedPatches({ images }: Inputs, attributes: Attributes): TensorInfo {
    const shape = outputShape(attributes);
    const threads = tf.util.sizeFromShape(shape) / attributes.shape[3]!;
    return run("forward", images, shape, threads, attributes);
  },
  VitShiftedPatchesGrad({ dy }: GradInputs, attributes: Attributes): TensorInfo {
    const { shape } = attributes;
    return run("backward", dy, shape, tf.util.sizeFromShape(shape), attributes);
  },
};

/** Calls `visit` for each run of channels: where it stands in the patches, and in the image. */
function eachRun(a: Attributes, visit: (patches: number, image: number | null) => void): void {
  const [batch, height, width, channels] = a.shape as [number, number, number, number];
  const p = a.patchSize;
  const half = Math.floor(p / 2);
  let at = 0;
  for (let image = 0; image < batch; image++) {
    for (let token = 0; token < height / p * (width / p); token++) {
      const top = Math.floor(token / (width / p)) * p;
      const left = token % (width / p) * p;
      for (let pixel = 0; pixel < p * p; pixel++) {
        for (const [down, right] of SHIFT_OFFSETS) {
          const row = top + Math.floor(pixel / p) + down * half;
          const column = left + pixel % p + right * half;
          const isInside = row >= 0 && row < height && column >= 0 && column < width;
          visit(at, isInside ? ((image * height + row) * width + column) * channels : null);
          at += channels;
        }
      }
    }
  }
}

const host: typeof webgpu = {
  VitShiftedPatches({ images }, attributes) {
    const output = hostAllocate(outputShape(attributes));
    const [from, to] = [hostFloats(images), hostFloats(output)];
    const channels = attributes.shape[3]!;
    eachRun(attributes, (patches, image) => {
      for (let c = 0; c < channels; c++) to[patches + c] = image === null ? 0 : from[image + c]!;
    });
    return output;
  },
  VitShiftedPatchesGrad({ dy }, attributes) {
    const output = hostAllocate(attributes.shape);
    const [from, to] = [hostFloats(dy), hostFloats(output).fill(0)];
    const channels = attributes.shape[3]!;
    eachRun(attributes, (patches, image) => {
      if (image === null) return;
      for (let c = 0; c < channels; c++) to[image + c]! += from[patches + c]!;
    });
    return output;
  },
};

registerKernels(webgpu, host, {
  VitShiftedPatches({ images }: Tensors<Inputs>, { shape, patchSize: p }: Attributes) {
    const [batch, height, width, channels] = shape as [number, number, number, number];
    const half = Math.floor(p / 2);
    const [rows, columns, parts] = [height / p, width / p, SHIFTED_PARTS * channels];
    const padded = tf.pad(images, [[0, 0], [half, half], [half, half], [0, 0]]);
    const shifts = SHIFT_OFFSETS.map((offset) => {
      const [down, right] = offset.map((halves) => (halves + 1) * half) as [number, number];
      return padded.slice([0, down, right, 0], [batch, height, width, channels]);
    });
    return tf.concat(shifts, 3) // b (rows p) (columns p) parts
      .reshape([batch * rows, p, columns, p * parts]) // (b rows) p columns (p parts)
      .transpose([0, 2, 1, 3]) // (b rows) columns p (p parts)
      .reshape([batch, rows * columns, p * p * parts]); // b (rows columns) (p p parts)
  },
});

registerGradient<Attributes>("VitShiftedPatches", {
  inputs: [],
  backward: ([dy], _, attributes) => ({
    images: () => runKernel<tf.Tensor>("VitShiftedPatchesGrad", { dy }, attributes),
  }),
});
