/**
 * A batch of model input from packed bytes: gather by index, normalize, resize, and sample once
 * through an affine map per image, in one pass. No gradient.
 *
 * On webgpu each output pixel samples the resized image where it is needed (four points, each from
 * four stored pixels), so the resized image never exists. A host resizes one image at a time into a
 * scratch array, which is faster there.
 */
import { bufferLimit } from "../../backend/device.ts";
import { dispatch, uniformWords, unsigned } from "../../backend/compute.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { augmentInto, hostAugment } from "./host.ts";
import {
  type AugmentBatch,
  type AugmentOptions,
  fourFloats,
  inverseDeviations,
} from "./options.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "../grid.ts";
import { registerKernels, runKernel, type Tensors } from "../register.ts";

/**
 * Packs images as {@linkcode augmentBatch} takes them: int32 `[rows, words]` tensors of four bytes
 * a word, little endian, each image filled up to whole words. As few tensors as the device's limit
 * on one buffer allows, all but the last of equal rows. They may share memory with `images`.
 *
 * @param images `[count, bytesPerImage]` bytes.
 * @param limit The most bytes of one tensor; the device's by default.
 */
export function packImages(
  images: Uint8Array,
  bytesPerImage: number,
  limit: number = bufferLimit(),
): tf.Tensor2D[] {
  const count = images.length / bytesPerImage;
  if (!Number.isInteger(count) || count === 0) {
    throw new Error(`${images.length} bytes are not a number of images of ${bytesPerImage} bytes.`);
  }
  const words = Math.ceil(bytesPerImage / 4);
  const rows = Math.min(count, Math.max(1, Math.floor(limit / (words * 4))));
  const tensors: tf.Tensor2D[] = [];
  for (let first = 0; first < count; first += rows) {
    const taken = Math.min(rows, count - first);
    const part = images.subarray(first * bytesPerImage, (first + taken) * bytesPerImage);
    const packed = packedWords(part, taken, words);
    tensors.push(tf.tensor2d(packed, [taken, words], "int32"));
  }
  return tensors;
}

/**
 * The words of `count` images of equal size, `[count, words]`, each filled up to whole words; the
 * memory is shared where it lies right already.
 */
export function packedWords(images: Uint8Array, count: number, words: number): Int32Array {
  const { buffer, byteOffset, byteLength } = images;
  if (byteLength === count * words * 4 && byteOffset % 4 === 0) {
    return new Int32Array(buffer, byteOffset, count * words);
  }
  const packed = new Int32Array(count * words);
  const bytes = new Uint8Array(packed.buffer);
  const stride = byteLength / count;
  for (let i = 0; i < count; i++) {
    bytes.set(images.subarray(i * stride, (i + 1) * stride), i * words * 4);
  }
  return packed;
}

/**
 * Normalizes images (`(p - mean) / sqrt(variance)`), resizes them bilinearly (half-pixel centres,
 * no antialias, edges repeated), then samples the resized image bilinearly at
 * `(t0 x + t1 y + t2, t3 x + t4 y + t5)` for output pixel (x, y), with reflect fill
 * (d c b a | a b c d | d c b a) outside.
 *
 * @param packed int32 `[count, words]` or several of equal rows (the last may have fewer), see
 * {@linkcode packImages}.
 * @param indices int32 `[batch]`, each in 0..count-1.
 * @param transforms float32 `[batch, 6]`, or null to normalize and resize only.
 * @returns float32 `[batch, size, size, channels]`.
 * @throws {Error} when shapes, types or options do not fit.
 */
export function augmentBatch(
  packed: tf.Tensor2D | tf.Tensor2D[],
  indices: tf.Tensor1D,
  transforms: tf.Tensor2D | null,
  options: AugmentOptions,
): tf.Tensor4D {
  const shards = Array.isArray(packed) ? packed : [packed];
  assertOptions(shards, indices, transforms, options);
  const numbered = Object.fromEntries(shards.map((shard, i) => [`shard${i}`, shard]));
  return runKernel<tf.Tensor4D>("VitAugmentBatch", { indices, transforms, ...numbered }, {
    options,
    shards: shards.length,
  });
}

function assertOptions(
  shards: tf.Tensor2D[],
  indices: tf.Tensor1D,
  transforms: tf.Tensor2D | null,
  { height, width, channels, size, mean, variance }: AugmentOptions,
): void {
  const words = Math.ceil(height * width * channels / 4);
  if (!(channels >= 1 && channels <= 4) || !(size >= 1)) {
    throw new Error(`Images of ${channels} channels and size ${size} cannot be made.`);
  }
  if (mean.length !== channels || variance.length !== channels) {
    throw new Error(`${channels} channels need as many means and variances.`);
  }
  const rows = shards[0]?.shape[0];
  shards.forEach(({ shape, dtype }, i) => {
    const fits = i < shards.length - 1 ? shape[0] === rows : shape[0] <= rows!;
    if (dtype !== "int32" || shape[1] !== words || !fits) {
      throw new Error(`Packed images must be int32 [${rows}, ${words}], not ${dtype} [${shape}].`);
    }
  });
  if (shards.length === 0 || indices.dtype !== "int32" || indices.rank !== 1) {
    throw new Error(`Indices must be int32 [batch], not ${indices.dtype} [${indices.shape}].`);
  }
  if (transforms && (transforms.shape[0] !== indices.size || transforms.shape[1] !== 6)) {
    throw new Error(`Transforms must be [${indices.size}, 6], not [${transforms.shape}].`);
  }
}

interface Inputs extends Record<string, TensorInfo> {
  indices: TensorInfo;
}
interface Attributes {
  options: AugmentOptions;
  /** Number of inputs that are named `shard0`, `shard1`, … */
  shards: number;
}

function given(inputs: Inputs, { options, shards }: Attributes): AugmentBatch {
  return {
    shards: Array.from({ length: shards }, (_, k) => inputs[`shard${k}`]!),
    indices: inputs.indices,
    transforms: inputs.transforms,
    options,
  };
}

function webgpuAugment({ shards, indices, transforms, options }: AugmentBatch): TensorInfo {
  const { height, width, channels, size, mean, variance } = options;
  const batch = indices.shape[0]!;
  const last = shards.at(-1)!;
  const rows = shards[0]!.shape[0]!;
  const count = (shards.length - 1) * rows + last.shape[0]!;
  const pixels = batch * size * size;
  const isResized = height !== size || width !== size;
  return dispatch({
    key: `augment_batch/${channels},${isResized},${!!transforms},${shards.length}`,
    wgsl: () => wgsl(channels, isResized, !!transforms, shards.length),
    inputs: [indices, ...(transforms ? [transforms] : []), ...shards],
    outputs: [{ shape: [batch, size, size, channels], dtype: "float32" }],
    uniforms: uniformWords([
      ...fourFloats(mean),
      ...fourFloats(inverseDeviations(variance)),
      ...unsigned(size, height, width, pixels, last.shape[1]!, rows, count, 0),
      ["f", height / size],
      ["f", width / size],
    ]),
    workgroups: gridOf(Math.ceil(pixels / 64)),
  })[0]!;
}

/**
 * The batch by the host's loop: webgl holds integers as floats, which have no room for four bytes.
 * The inputs come from the host, where tfjs still has them.
 */
function plainAugment(inputs: Tensors<Inputs>, { options, shards }: Attributes): tf.Tensor {
  const { indices, transforms } = inputs;
  const packed = Array.from({ length: shards }, (_, k) => inputs[`shard${k}`]!);
  const { size, channels } = options;
  const values = new Float32Array(indices.size * size * size * channels);
  augmentInto(values, {
    shards: packed.map((shard) => shard.dataSync<"int32">()),
    indices: indices.dataSync<"int32">(),
    maps: transforms?.dataSync<"float32">(),
    words: packed[0]!.shape[1]!,
  }, options);
  return tf.tensor(values, [indices.size, size, size, channels]);
}

function wgsl(channels: number, isResized: boolean, isSampled: boolean, shards: number): string {
  const first = isSampled ? 2 : 1;
  const range = Array.from({ length: shards }, (_, k) => k);
  // Only pixels of three bytes can straddle two words.
  const high = channels === 3
    ? `bits |= select(0u, word(place.x, w + 1u) << (32u - shift), shift > 8u);`
    : "";
  return /* wgsl */ `
struct Uniforms {
  mean: vec4<f32>, inverse_deviation: vec4<f32>,
  size: u32, height: u32, width: u32, pixels: u32,
  words: u32, rows: u32, count: u32, unused: u32,
  scale: vec2<f32>,
}
@group(0) @binding(0) var<storage, read> indices: array<u32>;
${isSampled ? "@group(0) @binding(1) var<storage, read> transforms: array<f32>;" : ""}
${
    range.map((k) => `@group(0) @binding(${first + k}) var<storage, read> s${k}: array<u32>;`)
      .join("\n")
  }
@group(0) @binding(${first + shards}) var<storage, read_write> images: array<f32>;
@group(0) @binding(${first + shards + 1}) var<uniform> u: Uniforms;
${gridWgsl}
// place: the shard of an image, and its first word there.
fn word(shard: u32, i: u32) -> u32 {
  ${range.slice(1).map((k) => `if (shard == ${k}u) { return s${k}[i]; }`).join("\n  ")}
  return s0[i];
}
fn stored(place: vec2<u32>, y: u32, x: u32) -> vec4<f32> {
  let byte = (y * u.width + x) * ${channels}u;
  let w = place.y + (byte >> 2u);
  let shift = (byte & 3u) * 8u;
  var bits = word(place.x, w) >> shift;
  ${high}
  return vec4<f32>((vec4<u32>(bits) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
}
fn resized(place: vec2<u32>, y: u32, x: u32) -> vec4<f32> {
  ${isResized ? resizeWgsl : "return stored(place, y, x);"}
}
${isSampled ? sampleWgsl : ""}
${gridMainWgsl(64)} {
  let p = block_of(workgroup, workgroups) * 64u + lane;
  if (p >= u.pixels) { return; }
  let x = p % u.size;
  let y = (p / u.size) % u.size;
  let image = p / (u.size * u.size);
  let index = min(indices[image], u.count - 1u);
  let place = vec2<u32>(index / u.rows, (index % u.rows) * u.words);
  let raw = ${isSampled ? "sampled(place, image * 6u, f32(y), f32(x))" : "resized(place, y, x)"};
  let value = (raw - u.mean) * u.inverse_deviation;
  ${
    ["x", "y", "z", "w"].slice(0, channels)
      .map((c, k) => `images[p * ${channels}u + ${k}u] = value.${c};`).join("\n  ")
  }
}
`;
}

const resizeWgsl = /* wgsl */ `
  let at = (vec2<f32>(f32(y), f32(x)) + 0.5) * u.scale - 0.5;
  let low = floor(at);
  let part = at - low;
  let last = vec2<i32>(i32(u.height), i32(u.width)) - 1;
  let a = vec2<u32>(clamp(vec2<i32>(low), vec2<i32>(0), last));
  let b = vec2<u32>(clamp(vec2<i32>(low) + 1, vec2<i32>(0), last));
  let top = mix(stored(place, a.x, a.y), stored(place, a.x, b.y), part.y);
  let bottom = mix(stored(place, b.x, a.y), stored(place, b.x, b.y), part.y);
  return mix(top, bottom, part.x);
`;

const sampleWgsl = /* wgsl */ `
fn reflect_index(i: i32) -> u32 {
  let size = i32(u.size);
  let period = 2 * size;
  let folded = ((i % period) + period) % period;
  return u32(min(folded, period - 1 - folded));
}
fn sampled(place: vec2<u32>, t: u32, y: f32, x: f32) -> vec4<f32> {
  let at = vec2<f32>(
    transforms[t + 3u] * x + transforms[t + 4u] * y + transforms[t + 5u],
    transforms[t] * x + transforms[t + 1u] * y + transforms[t + 2u],
  );
  let low = floor(at);
  let part = at - low;
  let y0 = reflect_index(i32(low.x));
  let y1 = reflect_index(i32(low.x) + 1);
  let x0 = reflect_index(i32(low.y));
  let x1 = reflect_index(i32(low.y) + 1);
  let top = mix(resized(place, y0, x0), resized(place, y0, x1), part.y);
  let bottom = mix(resized(place, y1, x0), resized(place, y1, x1), part.y);
  return mix(top, bottom, part.x);
}
`;

registerKernels({
  VitAugmentBatch: (inputs: Inputs, a: Attributes) => webgpuAugment(given(inputs, a)),
}, {
  VitAugmentBatch: (inputs: Inputs, a: Attributes) => hostAugment(given(inputs, a)),
}, { VitAugmentBatch: plainAugment });
