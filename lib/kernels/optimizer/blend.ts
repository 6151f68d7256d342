/**
 * Elementwise work over pairs of tensors, all pairs of a model at once, in place, in few dispatches
 * (see tensor_groups.ts): the weighted sum of two, for running averages and accumulated gradients,
 * and the exchange of two.
 */
import { dispatch, uniformWords } from "../../backend/compute.ts";
import { hostFloats, hostFloatsInPlace } from "../../backend/host.ts";
import { isShared } from "../../backend/tfjs_internals.ts";
import type { TensorInfo, tf } from "../../tfjs.ts";
import { gridMainWgsl, gridOf, gridWgsl } from "../grid.ts";
import { registerKernels, runKernel } from "../register.ts";
import { branchesWgsl, groupsOf, LANES, mostBuffers, sizeOf, tableOf } from "./tensor_groups.ts";

/** Two float32 tensors of one size. */
export interface Pair {
  /** Changed in place. */
  into: TensorInfo;
  /** Changed in place by {@linkcode exchange} only. */
  from: TensorInfo;
}

/**
 * `into = weights[0] * into + weights[1] * from` for every pair.
 *
 * @param weights two numbers, or float32 [2] where they change from step to step.
 * @throws {Error} when a shape or type does not fit, or when another tensor shares the data of one
 * that would be changed (see {@linkcode isShared}).
 */
export function blend(pairs: Pair[], weights: readonly [number, number] | tf.Tensor1D): void {
  pairs.forEach(({ into, from }) => assertPair(into, from, [into]));
  const isTensor = "dataId" in weights;
  if (isTensor && (weights.size !== 2 || weights.dtype !== "float32")) {
    throw new Error(`Weights must be float32 [2], not ${weights.dtype} [${weights.shape}].`);
  }
  runKernel("VitBlend", { weights: isTensor ? weights : undefined }, {
    pairs,
    fixed: isTensor ? null : weights,
  });
}

/**
 * Gives both tensors of every pair the numbers of the other, to the last bit.
 * @throws {Error} as {@linkcode blend}.
 */
export function exchange(pairs: Pair[]): void {
  pairs.forEach(({ into, from }) => assertPair(into, from, [into, from]));
  runKernel("VitExchange", {}, { pairs });
}

function assertPair(into: TensorInfo, from: TensorInfo, changed: TensorInfo[]): void {
  for (const tensor of [into, from]) {
    if (tensor.dtype === "float32" && sizeOf(tensor) === sizeOf(into)) continue;
    throw new Error(
      `A pair must be two of float32 [${into.shape}], not ${tensor.dtype} [${tensor.shape}].`,
    );
  }
  if (changed.some(isShared)) {
    throw new Error(
      `A tensor of a pair shares its data with another, which a change in place would change too.`,
    );
  }
}

interface Inputs {
  weights?: TensorInfo;
}
interface Attributes {
  pairs: Pair[];
  /** Where the weights are no tensor. */
  fixed: readonly [number, number] | null;
}

function webgpuBlend({ weights }: Inputs, { pairs, fixed }: Attributes): void {
  const sizes = pairs.map(({ into }) => sizeOf(into));
  for (const group of groupsOf(sizes, Math.floor((mostBuffers() - 1) / 2))) {
    const { rows, rounds, blocks } = tableOf(group, sizes);
    const { width, members } = group;
    const of = (role: keyof Pair) => members.map((index) => pairs[index]![role]);
    dispatch({
      key: `blend/${width}x${members.length},${rounds}${weights ? "+weights" : ""}`,
      wgsl: () => blendWgsl(width, members.length, rounds, weights !== undefined),
      inputs: [...(weights ? [weights] : []), ...of("from")],
      outputs: of("into"),
      uniforms: uniformWords([
        ...[...(fixed ?? [0, 0]), 0, 0].map((x): ["f", number] => ["f", x]),
        ...rows,
      ]),
      workgroups: gridOf(blocks),
    });
  }
}

function webgpuExchange(_inputs: unknown, { pairs }: Attributes): void {
  const sizes = pairs.map(({ into }) => sizeOf(into));
  for (const group of groupsOf(sizes, Math.floor(mostBuffers() / 2))) {
    const { rows, rounds, blocks } = tableOf(group, sizes);
    const { width, members } = group;
    dispatch({
      key: `exchange/${width}x${members.length},${rounds}`,
      wgsl: () => exchangeWgsl(width, members.length, rounds),
      inputs: [],
      outputs: members.flatMap((index) => [pairs[index]!.into, pairs[index]!.from]),
      uniforms: uniformWords(rows),
      workgroups: gridOf(blocks),
    });
  }
}

function bind(binding: number, access: string, name: string, width: 1 | 4): string {
  const type = width === 4 ? "vec4<f32>" : "f32";
  return `@group(0) @binding(${binding}) var<storage, ${access}> ${name}: array<${type}>;\n`;
}

function numbersTo(count: number): number[] {
  return Array.from({ length: count }, (_, k) => k);
}

function blendWgsl(width: 1 | 4, count: number, rounds: number, isTensor: boolean): string {
  const first = isTensor ? 1 : 0;
  return /* wgsl */ `
struct Uniforms { fixed_weights: vec4<f32>, table: array<vec4<u32>, ${count}> }
${isTensor ? "@group(0) @binding(0) var<storage, read> weights: vec2<f32>;\n" : ""}${
    numbersTo(count).map((k) => bind(first + k, "read", `x${k}`, width)).join("")
  }${
    numbersTo(count).map((k) => bind(first + count + k, "read_write", `y${k}`, width)).join("")
  }@group(0) @binding(${first + 2 * count}) var<uniform> u: Uniforms;
${gridWgsl}${gridMainWgsl(LANES)} {
  let block = block_of(workgroup, workgroups);
  let w = ${isTensor ? "weights" : "u.fixed_weights.xy"};
  ${branchesWgsl(count, rounds, (k) => `y${k}[i] = w.x * y${k}[i] + w.y * x${k}[i];`)}
}
`;
}

function exchangeWgsl(width: 1 | 4, count: number, rounds: number): string {
  return /* wgsl */ `
struct Uniforms { table: array<vec4<u32>, ${count}> }
${
    numbersTo(count).map((k) =>
      bind(2 * k, "read_write", `x${k}`, width) + bind(2 * k + 1, "read_write", `y${k}`, width)
    ).join("")
  }@group(0) @binding(${2 * count}) var<uniform> u: Uniforms;
${gridWgsl}${gridMainWgsl(LANES)} {
  let block = block_of(workgroup, workgroups);
  ${
    branchesWgsl(count, rounds, (k) =>
      `let kept = x${k}[i]; x${k}[i] = y${k}[i]; y${k}[i] = kept;`)
  }
}
`;
}

function hostBlend({ weights }: Inputs, { pairs, fixed }: Attributes): void {
  const [a, b] = weights ? hostFloats(weights) as unknown as [number, number] : fixed!;
  for (const { into, from } of pairs) {
    const [y, x] = [hostFloatsInPlace(into), hostFloats(from)];
    for (let i = 0; i < y.length; i++) y[i] = a * y[i]! + b * x[i]!;
  }
}

function hostExchange(_inputs: unknown, { pairs }: Attributes): void {
  for (const { into, from } of pairs) {
    const [y, x] = [hostFloatsInPlace(into), hostFloatsInPlace(from)];
    const kept = y.slice();
    y.set(x);
    x.set(kept);
  }
}

registerKernels({ VitBlend: webgpuBlend, VitExchange: webgpuExchange }, {
  VitBlend: hostBlend,
  VitExchange: hostExchange,
});
