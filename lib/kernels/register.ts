/**
 * Kernels and gradients of our own, as tfjs keeps them: by name and backend.
 *
 * A kernel has up to three forms: WGSL on webgpu, a loop over typed arrays that serves wasm and cpu,
 * and where that loop takes time, one for all processors under wasm.
 */
import { hostBackends } from "../backend/host.ts";
import { currentPool, type Pool } from "../simd/pool.ts";
import { type TensorInfo, tf } from "../tfjs.ts";

/** A kernel's form on one kind of backend: from tensors by name, and numbers, to new tensors. */
type Form = (inputs: never, attributes: never) => TensorInfo | TensorInfo[] | void;

/** A kernel's form for all processors. */
type PooledForm = (
  pool: Pool,
  inputs: never,
  attributes: never,
) => TensorInfo | TensorInfo[] | void;

/**
 * Registers kernels by name.
 *
 * @param webgpu forms for the webgpu backend
 * @param host forms for wasm and cpu, of the same names
 * @param pooled forms for wasm where its pool is open; `host` serves the names that it lacks
 */
export function registerKernels<Name extends string>(
  webgpu: Record<Name, Form>,
  host: Record<NoInfer<Name>, Form>,
  pooled: Partial<Record<NoInfer<Name>, PooledForm>> = {},
): void {
  for (const backendName of ["webgpu", ...hostBackends]) {
    const forms: Record<string, Form> = backendName === "webgpu" ? webgpu : host;
    for (const [kernelName, run] of Object.entries(forms)) {
      tf.registerKernel({
        kernelName,
        backendName,
        kernelFunc: ({ inputs, attrs }) => {
          const form = pooled[kernelName as Name];
          const pool = form && currentPool();
          return (pool
            ? form(pool, inputs as never, attrs as never)
            : run(inputs as never, attrs as never)) ?? [];
        },
      });
    }
  }
}

/** Gradient of a kernel. */
export interface Gradient<Attributes> {
  /** Names of the inputs that the gradient needs. */
  inputs: string[];
  /** Outputs that it needs, by position; none by default. */
  outputs?: boolean[];
  /**
   * From the gradients of the outputs, the saved inputs and then outputs, to one thunk for each
   * input that has a gradient.
   */
  backward: (
    dys: tf.Tensor[],
    saved: tf.Tensor[],
    attributes: Attributes,
  ) => Record<string, () => tf.Tensor>;
}

/** Registers the gradient of a kernel. Where a gradient may be unwanted, see lazy_gradient.ts. */
export function registerGradient<Attributes>(
  kernelName: string,
  { inputs, outputs, backward }: Gradient<Attributes>,
): void {
  tf.registerGradient({
    kernelName,
    inputsToSave: inputs,
    outputsToSave: outputs,
    gradFunc: (dys, saved, attrs) => backward([dys].flat(), saved, attrs as Attributes),
  });
}

/** Runs a kernel under `name`, leaving out inputs that are not there; `T` is what it returns. */
export function runKernel<T extends tf.Tensor | tf.Tensor[] = tf.Tensor[]>(
  name: string,
  inputs: Record<string, tf.Tensor | null | undefined>,
  attributes: object = {},
): T {
  return tf.engine().runKernel(name, withoutNulls(inputs), attributes as tf.NamedAttrMap) as T;
}

/** The entries that are there. */
export function withoutNulls<T>(tensors: Record<string, T | null | undefined>): Record<string, T> {
  const present: Record<string, T> = {};
  for (const name in tensors) {
    const tensor = tensors[name];
    if (tensor !== null && tensor !== undefined) present[name] = tensor;
  }
  return present;
}
