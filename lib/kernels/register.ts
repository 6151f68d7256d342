/**
 * Kernels and gradients of our own, as tfjs keeps them: by name and backend.
 *
 * A kernel has up to four forms: WGSL on webgpu; a loop over typed arrays that serves wasm and cpu;
 * where that loop takes time, one for all processors under wasm; and for what prediction needs a
 * plain one of tfjs's own operations, for webgl in a browser.
 */
import { hostBackends } from "../backend/host.ts";
import { UserError } from "../errors.ts";
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

/** Inputs of a kernel as tfjs's own operations take them. */
export type Tensors<Inputs> = { [Name in keyof Inputs]: tf.Tensor };

/** A kernel's form of tfjs's own operations; what it makes besides its outputs is tidied away. */
type PlainForm = (inputs: never, attributes: never) => tf.Tensor | tf.Tensor[];

/**
 * Registers kernels by name.
 *
 * @param webgpu forms for the webgpu backend
 * @param host forms for wasm and cpu, of the same names
 * @param plain forms for webgl; kernels that have none refuse to run there
 * @param pooled forms for wasm where its pool is open; `host` serves the names that it lacks
 */
export function registerKernels<Name extends string>(
  webgpu: Record<Name, Form>,
  host: Record<NoInfer<Name>, Form>,
  plain: Partial<Record<NoInfer<Name>, PlainForm>> = {},
  pooled: Partial<Record<NoInfer<Name>, PooledForm>> = {},
): void {
  const register = (backendName: string, kernelName: string, run: Form) =>
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs }) => run(inputs as never, attrs as never) ?? [],
    });
  for (const name of Object.keys(webgpu) as Name[]) {
    register("webgpu", name, webgpu[name]);
    const form: PooledForm | undefined = pooled[name];
    const onHost: Form = host[name];
    for (const backendName of hostBackends) {
      register(backendName, name, (inputs, attributes) => {
        const pool = form && currentPool();
        return pool ? form(pool, inputs, attributes) : onHost(inputs, attributes);
      });
    }
    const plainForm: PlainForm = plain[name] ?? refuse;
    register("webgl", name, (inputs, attributes) => tf.tidy(() => plainForm(inputs, attributes)));
  }
}

/** Gives up tensors that a kernel has made for itself, or whose owner it is. */
export function dispose(...tensors: TensorInfo[]): void {
  for (const { dataId } of tensors) tf.backend().disposeData(dataId);
}

/** Refuses what only training needs, on webgl. */
export function refuse(): never {
  throw new UserError(
    "The webgl backend predicts and does not train; take --backend webgpu, wasm or cpu.",
  );
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
