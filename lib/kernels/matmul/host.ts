/**
 * Matrix products of the wasm and cpu backends, by tfjs's own kernels.
 *
 * The wasm kernel's transposed forms are 4 to 8 times slower than transposing an operand first.
 */
import { hostAllocate, hostFloats } from "../../backend/host.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { dispose } from "../register.ts";

function runKernel(name: string, inputs: Record<string, TensorInfo>, attrs: object): TensorInfo {
  // The kernel itself, not the engine's wrapper: inside a kernel nothing belongs to a tidy scope.
  const kernel = tf.getKernel(name, tf.getBackend());
  return kernel.kernelFunc({
    inputs,
    attrs: attrs as tf.NamedAttrMap,
    backend: tf.backend(),
  }) as TensorInfo;
}

/** A product by the backend's own kernel, past the engine's bookkeeping: a new tensor of nobody's. */
export function hostProduct(
  a: TensorInfo,
  b: TensorInfo,
  transposeA = false,
  transposeB = false,
): TensorInfo {
  return runKernel("BatchMatMul", { a, b }, { transposeA, transposeB });
}

/** Rows of a block: with 16, the columns written stay in the cache between two rows. */
const BLOCK = 16;

/** [rows, columns] -> [columns, rows]; eighteen times faster than the wasm backend's Transpose. */
function transposed(x: TensorInfo): TensorInfo {
  const [rows, columns] = x.shape as [number, number];
  const result = hostAllocate([columns, rows]);
  const from = hostFloats(x);
  const to = hostFloats(result);
  for (let first = 0; first < rows; first += BLOCK) {
    const end = Math.min(rows, first + BLOCK);
    for (let column = 0; column < columns; column++) {
      const base = column * rows;
      for (let row = first, source = first * columns + column; row < end; row++) {
        to[base + row] = from[source]!;
        source += columns;
      }
    }
  }
  return result;
}

/** x @ kernel: [rows, in] x [in, out] -> [rows, out]. */
export function hostForward(x: TensorInfo, kernel: TensorInfo): TensorInfo {
  return hostProduct(x, kernel);
}

/** dz @ kernel^T: [rows, out] x [in, out] -> [rows, in]. */
export function hostGradX(dz: TensorInfo, kernel: TensorInfo): TensorInfo {
  if (tf.getBackend() !== "wasm") return hostProduct(dz, kernel, false, true);
  const [rows, columns] = [dz.shape[0]!, kernel.shape[0]!];
  if (rows < columns) {
    // (kernel @ dz^T)^T reads a large kernel where it stands; only small tensors are turned.
    const dzTurned = transposed(dz);
    const turned = hostProduct(kernel, dzTurned);
    const result = transposed(turned);
    dispose(dzTurned, turned);
    return result;
  }
  const kernelTurned = transposed(kernel);
  const result = hostProduct(dz, kernelTurned);
  dispose(kernelTurned);
  return result;
}

/** x^T @ dz of each dz: [rows, in] x [rows, out] -> [in, out]. */
export function hostGradKernels(x: TensorInfo, dzs: TensorInfo[]): TensorInfo[] {
  if (tf.getBackend() !== "wasm") return dzs.map((dz) => hostProduct(x, dz, true, false));
  const xTurned = transposed(x);
  const results = dzs.map((dz) => hostProduct(xTurned, dz));
  dispose(xTurned);
  return results;
}

/** The sum over all pairs of dz @ kernel^T. */
export function hostGradXOfMany(dzs: TensorInfo[], kernels: TensorInfo[]): TensorInfo {
  const [result, ...others] = dzs.map((dz, i) => hostGradX(dz, kernels[i]!));
  for (const other of others) {
    const [to, from] = [hostFloats(result!), hostFloats(other)];
    for (let i = 0; i < to.length; i++) to[i]! += from[i]!;
    dispose(other);
  }
  return result!;
}
