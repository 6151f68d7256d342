/**
 * Matrix products of the wasm and cpu backends, by tfjs's own kernels.
 *
 * Two properties of the wasm kernel shape this file. Its transposed forms are 4 to 8 times slower
 * than transposing an operand first; and it keeps the right operand of the plain form in a packed
 * copy until that tensor is disposed, so a weight updated in place would go on with its old values.
 */
import { type TensorInfo, tf } from "../tfjs.ts";

/** The part of tfjs's wasm backend that owns the packed copies. */
interface PackingBackend {
  dataIdMap: { get(dataId: object): { id: number; memoryOffset: number } };
  wasm: {
    tfjs: {
      disposeData(id: number): void;
      registerTensor(id: number, size: number, offset: number): void;
    };
  };
}

/** Forgets the wasm backend's packed copy of a tensor whose values may have changed in place. */
export function forgetPacked(tensor: TensorInfo): void {
  if (tf.getBackend() !== "wasm") return;
  const { dataIdMap, wasm } = tf.backend() as unknown as PackingBackend;
  const { id, memoryOffset } = dataIdMap.get(tensor.dataId);
  wasm.tfjs.disposeData(id);
  wasm.tfjs.registerTensor(id, tf.util.sizeFromShape(tensor.shape), memoryOffset);
}

function runKernel(name: string, inputs: Record<string, TensorInfo>, attrs: object): TensorInfo {
  // The kernel itself, not the engine's wrapper: inside a kernel nothing belongs to a tidy scope.
  const kernel = tf.getKernel(name, tf.getBackend());
  return kernel.kernelFunc({
    inputs,
    attrs: attrs as tf.NamedAttrMap,
    backend: tf.backend(),
  }) as TensorInfo;
}

function product(a: TensorInfo, b: TensorInfo, transposeA = false, transposeB = false) {
  return runKernel("BatchMatMul", { a, b }, { transposeA, transposeB });
}

function transposed(x: TensorInfo): TensorInfo {
  return runKernel("Transpose", { x }, { perm: [1, 0] });
}

const dispose = (tensor: TensorInfo) => tf.backend().disposeData(tensor.dataId);

/** x @ kernel: [rows, in] x [in, out] -> [rows, out]. */
export function hostForward(x: TensorInfo, kernel: TensorInfo): TensorInfo {
  forgetPacked(kernel);
  return product(x, kernel);
}

/** dz @ kernel^T: [rows, out] x [in, out] -> [rows, in]. */
export function hostGradX(dz: TensorInfo, kernel: TensorInfo): TensorInfo {
  if (tf.getBackend() !== "wasm") return product(dz, kernel, false, true);
  const [rows, columns] = [dz.shape[0]!, kernel.shape[0]!];
  if (rows < columns) {
    // (kernel @ dz^T)^T reads a large kernel where it stands; only small tensors are turned.
    const dzTurned = transposed(dz);
    const turned = product(kernel, dzTurned);
    const result = transposed(turned);
    dispose(dzTurned);
    dispose(turned);
    return result;
  }
  const kernelTurned = transposed(kernel);
  const result = product(dz, kernelTurned);
  dispose(kernelTurned);
  return result;
}

/** x^T @ dz: [rows, in] x [rows, out] -> [in, out]. */
export function hostGradKernel(x: TensorInfo, dz: TensorInfo): TensorInfo {
  if (tf.getBackend() !== "wasm") return product(x, dz, true, false);
  const xTurned = transposed(x);
  const result = product(xTurned, dz);
  dispose(xTurned);
  return result;
}
