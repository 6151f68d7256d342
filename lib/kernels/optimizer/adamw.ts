/**
 * AdamW over all variables of a model at once, in place, in few dispatches (see tensor_groups.ts).
 *
 * The moments of a group of variables lie side by side in two flat tensors, so that a dispatch
 * binds two buffers a variable, its value and its gradient, and not four.
 */
import { dispatch, uniformWords, webgpuBackend } from "../../backend/compute.ts";
import { hostFloats } from "../../backend/host.ts";
import { isShared } from "../../backend/tfjs_internals.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { isNonFiniteWgsl } from "./count_non_finite.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "../grid.ts";
import { registerKernels, runKernel } from "../register.ts";
import { simdAdamW } from "./simd.ts";
import {
  type AdamWAttributes,
  type AdamWGroup,
  type AdamWInputs,
  type AdamWMember,
  type AdamWOptions,
  updatesOf,
} from "./updates.ts";
import { branchesWgsl, groupsOf, LANES, mostBuffers, sizeOf, tableOf } from "./tensor_groups.ts";

export type { AdamWGroup, AdamWMember, AdamWOptions };

/** Rule by which the global norm of the gradients limits an update. */
export interface Clipping {
  /** The largest norm that is let through; 0 lets all through. */
  clipNorm: number;
  /** The square of the gradients' norm, see squared_norm.ts. */
  squaredNorm: tf.Scalar;
  /** Leaves the whole update out when the squared norm is NaN or infinite. */
  skipNonFinite?: boolean;
}

/** Buffers of a dispatch that are no variable's: both moments, the scalars, the squared norm. */
const COMMON_BUFFERS = 4;

/**
 * Divides variables into groups for {@linkcode adamwUpdate}: the fewest dispatches that the current
 * backend allows, by index. Empty variables are in none.
 */
export function adamwGroups(sizes: number[]): number[][] {
  // The host backends have no limits of their own, and their loops no use for one large array.
  if (tf.getBackend() !== "webgpu") return groupsOf(sizes, Infinity).map(({ members }) => members);
  const mostElements = webgpuBackend().device.limits.maxStorageBufferBindingSize / 4;
  return groupsOf(sizes, capacity(), mostElements).map(({ members }) => members);
}

function capacity(): number {
  return Math.floor((mostBuffers() - COMMON_BUFFERS) / 2);
}

/**
 * One step of AdamW on every variable, in place, as TensorFlow computes it: first
 * `value *= decayFactor` where `decay` is set, then with the new m and v
 * `value -= stepSize * m / (sqrt(v) + epsilon)`.
 *
 * @param groups as {@linkcode adamwGroups} makes them; others may take more dispatches
 * @param scalars float32 [2]: stepSize = learningRate * sqrt(1 - beta2^t) / (1 - beta1^t), and the
 * decay factor. A tensor, since it changes from step to step.
 * @param clipping the gradients are multiplied by min(1, clipNorm / norm) first
 * @throws {Error} when a shape or type does not fit, or when another tensor shares the data of a
 * variable or of the moments (see {@linkcode isShared}).
 */
export function adamwUpdate(
  groups: AdamWGroup[],
  scalars: tf.Tensor1D,
  options: AdamWOptions,
  clipping?: Clipping,
): void {
  if (scalars.size !== 2 || scalars.dtype !== "float32") {
    throw new Error(`Scalars must be float32 [2], not ${scalars.dtype} [${scalars.shape}].`);
  }
  groups.forEach(assertUpdatable);
  runKernel("VitAdamW", { scalars, squaredNorm: clipping?.squaredNorm }, {
    groups,
    options,
    // Larger than any norm that is a number; 1e39 would not be one in a shader.
    clipNorm: clipping?.clipNorm || 3e38,
    skipNonFinite: clipping?.skipNonFinite ?? false,
  });
}

function assertUpdatable({ m, v, members }: AdamWGroup): void {
  const end = Math.max(0, ...members.map(({ value, offset }) => offset + sizeOf(value)));
  for (const [role, tensor] of Object.entries({ m, v })) {
    if (tensor.dtype !== "float32" || sizeOf(tensor) < end) {
      throw new Error(
        `The ${role} of a group must be float32 with ${end} elements, ` +
          `not ${tensor.dtype} [${tensor.shape}].`,
      );
    }
    if (isShared(tensor)) throw new Error(`The ${role} of a group ${sharing}.`);
  }
  members.forEach(({ value, grad }, index) => {
    const name = (value as Partial<tf.Variable>).name ?? `number ${index}`;
    for (const [role, tensor] of Object.entries({ value, gradient: grad })) {
      if (tensor.dtype !== "float32" || sizeOf(tensor) !== sizeOf(value)) {
        throw new Error(
          `The ${role} of variable ${name} must be float32 [${value.shape}], ` +
            `not ${tensor.dtype} [${tensor.shape}].`,
        );
      }
    }
    if (isShared(value)) throw new Error(`The value of variable ${name} ${sharing}.`);
  });
}

const sharing = "shares its data with another tensor, which an update in place would change; " +
  "give it a copy of its own first";

function webgpuAdamW(inputs: AdamWInputs, attributes: AdamWAttributes): void {
  const { groups } = attributes;
  for (const { m, v, members } of groups) {
    const sizes = members.map(({ value }) => sizeOf(value));
    for (const group of groupsOf(sizes, capacity())) {
      const chosen = group.members.map((index) => members[index]!);
      // Loads of four need moments that begin at a multiple of four.
      const aligned = chosen.every(({ offset }) => offset % group.width === 0);
      updateGroup(inputs, m, v, chosen, aligned ? group.width : 1, attributes);
    }
  }
}

function updateGroup(
  { scalars, squaredNorm }: AdamWInputs,
  m: TensorInfo,
  v: TensorInfo,
  members: AdamWMember[],
  width: 1 | 4,
  { options: { beta1, beta2, epsilon }, clipNorm, skipNonFinite }: AdamWAttributes,
): void {
  const count = members.length;
  const sizes = members.map(({ value }) => sizeOf(value));
  const { rows, rounds, blocks } = tableOf(
    { width, members: sizes.map((_, index) => index) },
    sizes,
    (index) => [members[index]!.offset / width, members[index]!.decay ? 1 : 0],
  );
  const clip = squaredNorm !== undefined;
  const skip = clip && skipNonFinite;
  const rates = members.map(({ rate = 1, decayRate = 1 }) => [rate, decayRate]);
  // A shader of its own, so that the others compute as they did.
  const scaled = rates.flat().some((rate) => rate !== 1);
  const steps = `${clip ? "+clip" : ""}${skip ? "+skip" : ""}${scaled ? "+rates" : ""}`;
  dispatch({
    key: `adamw/${width}x${count},${rounds}${steps}`,
    wgsl: () => adamwWgsl(width, count, rounds, { clip, skip, scaled }),
    inputs: [scalars, ...(clip ? [squaredNorm] : []), ...members.map(({ grad }) => grad)],
    outputs: [m, v, ...members.map(({ value }) => value)],
    uniforms: uniformWords([
      // 1 - beta2 of a float32 beta2 would be wrong in the fifth digit.
      ...[beta1, 1 - beta1, beta2, 1 - beta2].map((x): ["f", number] => ["f", x]),
      ...[epsilon, clipNorm, 0, 0].map((x): ["f", number] => ["f", x]),
      ...rows,
      ...(scaled ? rates.flatMap((pair) => [...pair, 0, 0]) : [])
        .map((rate): ["f", number] => ["f", rate]),
    ]),
    workgroups: gridOf(blocks),
  });
}

function adamwWgsl(
  width: 1 | 4,
  count: number,
  rounds: number,
  { clip, skip, scaled }: Record<"clip" | "skip" | "scaled", boolean>,
): string {
  const type = width === 4 ? "vec4<f32>" : "f32";
  const first = clip ? 2 : 1;
  const bind = (binding: number, access: string, name: string, type: string) =>
    `@group(0) @binding(${binding}) var<storage, ${access}> ${name}: ${type};\n`;
  const each = (make: (k: number) => string) => Array.from({ length: count }, (_, k) => make(k));
  return /* wgsl */ `
struct Uniforms {
  betas: vec4<f32>, epsilon: f32, clip_norm: f32, table: array<vec4<u32>, ${count}>,
  ${scaled ? `rates: array<vec4<f32>, ${count}>,` : ""}
}
${bind(0, "read", "scalars", "vec2<f32>")}${clip ? bind(1, "read", "squared_norm", "f32") : ""}${
    each((k) => bind(first + k, "read", `g${k}`, `array<${type}>`)).join("")
  }${
    ["m", "v", ...each((k) => `x${k}`)].map((name, n) =>
      bind(first + count + n, "read_write", name, `array<${type}>`)
    ).join("")
  }@group(0) @binding(${first + 2 * count + 2}) var<uniform> u: Uniforms;
${gridWgsl}${skip ? isNonFiniteWgsl : ""}${gridMainWgsl(LANES)} {
  let block = block_of(workgroup, workgroups);
  ${skip ? "if (is_non_finite(squared_norm)) { return; }" : ""}
  ${
    clip
      ? `let norm = sqrt(squared_norm);
  // Not min(), which may let a NaN vanish.
  let scale = select(1.0, u.clip_norm / norm, norm > u.clip_norm);`
      : ""
  }
  ${
    branchesWgsl(count, rounds, (k) =>
      /* wgsl */ `
        let g = g${k}[i]${clip ? " * scale" : ""};
        let at = row.z + i;
        let mean = u.betas.x * m[at] + u.betas.y * g;
        let square = u.betas.z * v[at] + u.betas.w * g * g;
        m[at] = mean;
        v[at] = square;
        let decay = select(1.0, ${
        scaled ? `1.0 - (1.0 - scalars.y) * u.rates[${k}].y` : "scalars.y"
      }, row.w == 1u);
        x${k}[i] = x${k}[i] * decay - scalars.x${scaled ? ` * u.rates[${k}].x` : ""} * mean ` +
        `/ (sqrt(square) + u.epsilon);`)
  }
}
`;
}

function hostAdamW(inputs: AdamWInputs, attributes: AdamWAttributes): void {
  const { beta1, beta2, epsilon } = attributes.options;
  for (const { m, v, member, stepSize, decay, scale } of updatesOf(inputs, attributes)) {
    const g = hostFloats(member.grad);
    const x = hostFloats(member.value);
    const [first, second] = [m, v].map((tensor) =>
      hostFloats(tensor).subarray(member.offset, member.offset + x.length)
    ) as [Float32Array, Float32Array];
    for (let i = 0; i < g.length; i++) {
      const gi = g[i]! * scale;
      const mi = beta1 * first[i]! + (1 - beta1) * gi;
      const vi = beta2 * second[i]! + (1 - beta2) * gi * gi;
      first[i] = mi;
      second[i] = vi;
      x[i] = x[i]! * decay - stepSize * mi / (Math.sqrt(vi) + epsilon);
    }
  }
}

registerKernels({ VitAdamW: webgpuAdamW }, { VitAdamW: hostAdamW }, {}, { VitAdamW: simdAdamW });
