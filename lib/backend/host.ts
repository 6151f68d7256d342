/**
 * Host memory of the wasm and cpu backends, where both keep their tensors.
 *
 * A fused kernel written as one TypeScript loop over typed arrays serves both, and beats a chain of
 * tfjs kernels (measured: the chain spends most of a training step on temporaries).
 *
 * Views into the wasm heap end their life at the next allocation (the heap may grow and move), so
 * allocate all outputs first, then take the views.
 */
import { type TensorInfo, tf } from "../tfjs.ts";
import { hostInternals } from "./tfjs_internals.ts";

/** Element types a host kernel can take. */
type HostDType = "float32" | "int32";

/** The backends whose tensors live in host memory. */
export const hostBackends = ["wasm", "cpu"] as const;

/** A new tensor of unspecified content on the current host backend. */
export function hostAllocate(shape: number[], dtype: HostDType = "float32"): TensorInfo {
  const backend = hostInternals();
  if ("wasm" in backend) return backend.wasm.makeOutput(shape, dtype);
  const size = tf.util.sizeFromShape(shape);
  const values = dtype === "float32" ? new Float32Array(size) : new Int32Array(size);
  return backend.cpu.makeTensorInfo(shape, dtype, values);
}

/** The tensor's own floats, not a copy; valid until the next allocation. */
export function hostFloats(info: TensorInfo): Float32Array {
  return hostView(info) as Float32Array;
}

/**
 * The tensor's own floats, to be changed in place; valid until the next allocation.
 *
 * On cpu they become a copy first, because `data()` hands out the array itself there, and what a
 * caller has read must not change. On wasm a packed copy is dropped, which that backend keeps of a
 * matrix product's right operand for the tensor's life: it would go on with the old values.
 */
export function hostFloatsInPlace(info: TensorInfo): Float32Array {
  const backend = hostInternals();
  if ("wasm" in backend) {
    const { dataIdMap, wasm: { tfjs } } = backend.wasm;
    const { id, memoryOffset } = dataIdMap.get(info.dataId);
    tfjs.disposeData(id);
    tfjs.registerTensor(id, tf.util.sizeFromShape(info.shape), memoryOffset);
    return hostFloats(info);
  }
  return backend.cpu.data.get(info.dataId).values = hostFloats(info).slice();
}

/** The tensor's own integers, not a copy; valid until the next allocation. */
export function hostInts(info: TensorInfo): Int32Array {
  return hostView(info) as Int32Array;
}

function hostView(info: TensorInfo): Float32Array | Int32Array {
  const backend = hostInternals();
  if ("wasm" in backend) return backend.wasm.typedArrayFromHeap(info);
  const stored = backend.cpu.data.get(info.dataId);
  const wanted = info.dtype === "float32" ? Float32Array : Int32Array;
  // The cpu backend may hold plain arrays or other element types; its own kernels accept both.
  if (!(stored.values instanceof wanted)) {
    stored.values = wanted.from(stored.values as Float32Array);
  }
  return stored.values;
}
