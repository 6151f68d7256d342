/**
 * AdamW over all variables of a model at once, in place, in few dispatches (see tensor_groups.ts).
 */
import { dispatch, uniformWords } from "../backend/compute.ts";
import { hostBackends, hostFloats, hostFloatsInPlace } from "../backend/host.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { gridOf, gridWgsl } from "./grid.ts";
import { branchesWgsl, groupsOf, mainWgsl, mostBuffers, sizeOf, tableOf } from "./tensor_groups.ts";

/** One variable and Adam's state of it; all three float32 of one shape, updated in place. */
export interface AdamWVariable {
  value: TensorInfo;
  /** The running mean of the gradient. */
  m: TensorInfo;
  /** The running mean of the squared gradient. */
  v: TensorInfo;
  /** Whether the variable is multiplied by the decay factor. */
  decay: boolean;
}

/** What stays the same over a run. */
export interface AdamWOptions {
  beta1: number;
  beta2: number;
  epsilon: number;
}

/** True when another tensor has the same data, so that an update in place would change it too. */
export function isShared(tensor: TensorInfo): boolean {
  // KernelBackend declares refCount, but tfjs exports the class without it in its types.
  const backend = tf.backend() as unknown as { refCount(dataId: object): number };
  return backend.refCount(tensor.dataId) > 1;
}

/**
 * One step of AdamW on every variable, in place, as TensorFlow computes it: first
 * `value *= decayFactor` where `decay` is set, then with the new m and v
 * `value -= stepSize * m / (sqrt(v) + epsilon)`.
 *
 * @param grads One gradient a variable, float32 of its shape.
 * @param scalars float32 [4]: stepSize = learningRate * sqrt(1 - beta2^t) / (1 - beta1^t), the decay
 * factor, and two reserved places. A tensor, since it changes from step to step.
 * @throws {Error} when a shape or type does not fit, or when another tensor shares the data of a
 * variable or of its state (see {@linkcode isShared}).
 */
export function adamwUpdate(
  variables: AdamWVariable[],
  grads: TensorInfo[],
  scalars: tf.Tensor1D,
  options: AdamWOptions,
): void {
  if (grads.length !== variables.length) {
    throw new Error(`${variables.length} variables need as many gradients, not ${grads.length}.`);
  }
  if (scalars.size !== 4 || scalars.dtype !== "float32") {
    throw new Error(`Scalars must be float32 [4], not ${scalars.dtype} [${scalars.shape}].`);
  }
  variables.forEach((variable, i) => assertUpdatable(variable, grads[i]!, i));
  tf.engine().runKernel(
    "VitAdamW",
    { scalars },
    { variables, grads, options } as unknown as tf.NamedAttrMap,
  );
}

function assertUpdatable({ value, m, v }: AdamWVariable, grad: TensorInfo, index: number): void {
  const name = (value as Partial<tf.Variable>).name ?? `number ${index}`;
  const size = tf.util.sizeFromShape(value.shape);
  for (const [role, tensor] of Object.entries({ value, m, v, gradient: grad })) {
    if (tensor.dtype !== "float32" || tf.util.sizeFromShape(tensor.shape) !== size) {
      throw new Error(
        `The ${role} of variable ${name} must be float32 [${value.shape}], ` +
          `not ${tensor.dtype} [${tensor.shape}].`,
      );
    }
    if (role !== "gradient" && isShared(tensor)) {
      throw new Error(
        `The ${role} of variable ${name} shares its data with another tensor, which an update in ` +
          `place would change; give it a copy of its own first.`,
      );
    }
  }
}

interface Attributes {
  variables: AdamWVariable[];
  grads: TensorInfo[];
  options: AdamWOptions;
}

function webgpuAdamW(scalars: TensorInfo, { variables, grads, options }: Attributes): void {
  const { beta1, beta2, epsilon } = options;
  const sizes = grads.map(sizeOf);
  for (const group of groupsOf(sizes, Math.floor((mostBuffers() - 1) / 4))) {
    const { width, members } = group;
    const table = tableOf(group, sizes, (index) => variables[index]!.decay ? 1 : 0);
    dispatch({
      key: `adamw/${width}x${members.length}`,
      wgsl: () => adamwWgsl(width, members.length),
      inputs: [scalars, ...members.map((index) => grads[index]!)],
      outputs: members.flatMap((index) => {
        const { value, m, v } = variables[index]!;
        return [value, m, v];
      }),
      uniforms: uniformWords([
        // 1 - beta2 of a float32 beta2 would be wrong in the fifth digit.
        ...[beta1, 1 - beta1, beta2, 1 - beta2].map((x): ["f", number] => ["f", x]),
        ...[epsilon, 0, 0, 0].map((x): ["f", number] => ["f", x]),
        ...table.rows,
      ]),
      workgroups: gridOf(table.blocks),
    });
  }
}

function adamwWgsl(width: 1 | 4, count: number): string {
  const type = width === 4 ? "vec4<f32>" : "f32";
  const each = (make: (k: number) => string) => Array.from({ length: count }, (_, k) => make(k));
  return /* wgsl */ `
struct Uniforms { betas: vec4<f32>, epsilon: vec4<f32>, table: array<vec4<u32>, ${count}> }
@group(0) @binding(0) var<storage, read> scalars: vec4<f32>;
${each((k) => `@group(0) @binding(${1 + k}) var<storage, read> g${k}: array<${type}>;`).join("\n")}
${
    each((k) =>
      ["x", "m", "v"].map((name, n) =>
        `@group(0) @binding(${1 + count + 3 * k + n}) ` +
        `var<storage, read_write> ${name}${k}: array<${type}>;`
      ).join("\n")
    ).join("\n")
  }
@group(0) @binding(${1 + 4 * count}) var<uniform> u: Uniforms;
${gridWgsl}${mainWgsl} {
  let block = block_of(workgroup, workgroups);
  ${
    branchesWgsl(count, (k) => /* wgsl */ `
      let g = g${k}[i];
      let m = u.betas.x * m${k}[i] + u.betas.y * g;
      let v = u.betas.z * v${k}[i] + u.betas.w * g * g;
      m${k}[i] = m;
      v${k}[i] = v;
      let decay = select(1.0, scalars.y, row.w == 1u);
      x${k}[i] = x${k}[i] * decay - scalars.x * m / (sqrt(v) + u.epsilon.x);`)
  }
}
`;
}

function hostAdamW(scalars: TensorInfo, { variables, grads, options }: Attributes): void {
  const { beta1, beta2, epsilon } = options;
  const [stepSize, decayFactor] = hostFloats(scalars) as unknown as [number, number];
  variables.forEach((variable, index) => {
    const g = hostFloats(grads[index]!);
    const x = hostFloatsInPlace(variable.value);
    const m = hostFloatsInPlace(variable.m);
    const v = hostFloatsInPlace(variable.v);
    const decay = variable.decay ? decayFactor : 1;
    for (let i = 0; i < g.length; i++) {
      const gi = g[i]!;
      const mi = beta1 * m[i]! + (1 - beta1) * gi;
      const vi = beta2 * v[i]! + (1 - beta2) * gi * gi;
      m[i] = mi;
      v[i] = vi;
      x[i] = x[i]! * decay - stepSize * mi / (Math.sqrt(vi) + epsilon);
    }
  });
}

for (const backendName of ["webgpu", ...hostBackends]) {
  const onGpu = backendName === "webgpu";
  tf.registerKernel({
    kernelName: "VitAdamW",
    backendName,
    kernelFunc: ({ inputs, attrs }) => {
      (onGpu ? webgpuAdamW : hostAdamW)(inputs.scalars!, attrs as unknown as Attributes);
      return [];
    },
  });
}
