/**
 * Several dense layers of one input in one operation, as attention's query, key and value are.
 *
 * On webgpu the input's tiles are read once for all layers, and the gradient of the input, a sum
 * over the layers, needs no tensor of its own for each of them: three dispatches for forward and
 * backward together.
 */
import { webgpuBackend } from "../../backend/compute.ts";
import { hostFloats } from "../../backend/host.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { onTape } from "../lazy_gradient.ts";
import { registerKernels, runKernel, type Tensors } from "../register.ts";
import { finishRows, sumRows } from "./host.ts";
import { plainLinear } from "./plain.ts";
import { withNormalized } from "../layer_norm/wgsl.ts";
import { matmul, matmulOverRows, matrixOf } from "../matmul/matmul.ts";
import { simdForward, simdGradKernel, simdGradXOfMany, simdSumRows } from "./simd.ts";
import { hostForward, hostGradKernels, hostGradXOfMany } from "../matmul/host.ts";

/**
 * y_i = x @ kernels_i + biases_i.
 *
 * @param x float32 [..., in].
 * @param kernels Each float32 [in, out], all of one shape.
 * @param biases As many, each float32 [out]; or none.
 * @returns As many outputs, each float32 [..., out]; differentiable with respect to everything.
 * @throws {Error} when the shapes do not fit.
 */
export function parallelLinear(
  x: tf.Tensor,
  kernels: tf.Tensor2D[],
  biases: tf.Tensor1D[],
): tf.Tensor[] {
  const shape = checkedShape(x, kernels, biases);
  const { length } = kernels;
  return onTape<tf.Tensor[]>({
    inputs: { x, ...numbered("kernel", kernels), ...numbered("bias", biases) },
    forward: (save) => {
      save([x, ...kernels]);
      const ys = runKernel(
        "VitParallelLinear",
        { x, ...numbered("kernel", kernels), ...numbered("bias", biases) },
        { length },
      );
      return ys.map((y) => y.reshape(shape));
    },
    backward: (dys, [x, ...kernels]) => {
      // Here and not in a thunk, because one kernel makes the gradients of several inputs.
      const grads = runKernel("VitParallelLinearGradKernels", { x, ...numbered("dy", dys) }, {
        length,
        columns: shape.at(-1),
        bias: biases.length > 0,
      });
      const thunks: Record<string, () => tf.Tensor> = {
        x: () =>
          runKernel("VitParallelLinearGradX", {
            ...numbered("dy", dys),
            ...numbered("kernel", kernels),
          }, { length, shape: x!.shape })[0]!,
      };
      for (let i = 0; i < length; i++) {
        thunks[`kernel${i}`] = () => grads[i]!;
        if (biases.length > 0) thunks[`bias${i}`] = () => grads[length + i]!;
      }
      return thunks;
    },
  });
}

function checkedShape(x: tf.Tensor, kernels: tf.Tensor[], biases: tf.Tensor[]): number[] {
  const [first] = kernels;
  const inner = x.shape.at(-1);
  if (!first || (biases.length > 0 && biases.length !== kernels.length)) {
    throw new Error(
      `parallelLinear needs a bias for each kernel, not ${biases.length} for ${kernels.length}.`,
    );
  }
  for (const { rank, shape } of kernels) {
    const fits = rank === 2 && shape[0] === inner && shape[1] === first.shape[1];
    if (!fits || x.size === 0) {
      throw new Error(
        `parallelLinear cannot multiply x [${x.shape}] by kernels ` +
          `${kernels.map((kernel) => `[${kernel.shape}]`).join(", ")}.`,
      );
    }
  }
  const columns = first.shape[1]!;
  for (const { rank, size, shape } of biases) {
    if (rank !== 1 || size !== columns) {
      throw new Error(`parallelLinear needs biases of ${columns} elements, not [${shape}].`);
    }
  }
  return [...x.shape.slice(0, -1), columns];
}

type Inputs = Record<string, TensorInfo> & { x: TensorInfo };

function numbered<T>(name: string, tensors: T[]): Record<string, T> {
  return Object.fromEntries(tensors.map((tensor, i) => [`${name}${i}`, tensor]));
}

function listOf(inputs: Record<string, TensorInfo>, name: string, length: number): TensorInfo[] {
  return Array.from({ length }, (_, i) => inputs[`${name}${i}`]!);
}

/** True when one stage can bind that many storage buffers; WebGPU itself grants 8. */
function canBind(buffers: number): boolean {
  return buffers <= webgpuBackend().device.limits.maxStorageBuffersPerShaderStage;
}

const webgpu = {
  VitParallelLinear(inputs: Inputs, { length }: { length: number }): TensorInfo[] {
    const kernels = listOf(inputs, "kernel", length);
    const biases = inputs.bias0 ? listOf(inputs, "bias", length) : [];
    const [depth, columns] = kernels[0]!.shape as [number, number];
    const a = matrixOf(inputs.x, depth);
    // Each y = x @ its kernel: one a, a part for each b.
    const product = { layout: "nn", a, rows: a.shape[0]!, depth, columns } as const;
    if (canBind(1 + 3 * length)) return matmul({ ...product, b: kernels }, { bias: biases });
    return kernels.map((b, i) => matmul({ ...product, b }, { bias: biases[i] })[0]!);
  },
  VitParallelLinearGradX(
    inputs: Record<string, TensorInfo>,
    { length, shape }: { length: number; shape: number[] },
  ): TensorInfo[] {
    const kernels = listOf(inputs, "kernel", length);
    const [columns, depth] = kernels[0]!.shape as [number, number];
    const dys = listOf(inputs, "dy", length).map((dy) => matrixOf(dy, depth));
    // dx = the sum of dy @ kernel^T over the parts.
    const product = { layout: "nt", rows: dys[0]!.shape[0]!, depth, columns } as const;
    if (canBind(1 + 2 * length)) {
      return [{ ...matmul({ ...product, a: dys, b: kernels })[0]!, shape }];
    }
    let sum: TensorInfo | undefined;
    for (const [i, dy] of dys.entries()) {
      const [next] = matmul({ ...product, a: dy, b: kernels[i]! }, { residual: sum });
      if (sum) tf.backend().disposeData(sum.dataId);
      sum = next;
    }
    return [{ ...sum!, shape }];
  },
  VitParallelLinearGradKernels(
    inputs: Inputs,
    { length, columns, bias }: { length: number; columns: number; bias: boolean },
  ): TensorInfo[] {
    const dys = listOf(inputs, "dy", length).map((dy) => matrixOf(dy, columns));
    const depth = dys[0]!.shape[0]!;
    const rows = tf.util.sizeFromShape(inputs.x.shape) / depth;
    return withNormalized(inputs.x, (a) => {
      // Each dkernel = x^T @ its dy: one a, a part for each b.
      const product = { layout: "tn", a, rows, depth, columns } as const;
      if (canBind(1 + 3 * length)) return matmulOverRows({ ...product, b: dys }, bias);
      const pairs = dys.map((b) => matmulOverRows({ ...product, b }, bias));
      const dBiases = bias ? pairs.map(([, dBias]) => dBias!) : [];
      return [...pairs.map(([dKernel]) => dKernel!), ...dBiases];
    });
  },
};

const host: typeof webgpu = {
  VitParallelLinear(inputs, { length }) {
    const kernels = listOf(inputs, "kernel", length);
    const [inner, columns] = kernels[0]!.shape as [number, number];
    const x = matrixOf(inputs.x, inner);
    return kernels.map((kernel, i) => {
      const y = hostForward(x, kernel);
      const bias = inputs[`bias${i}`];
      if (bias) finishRows(hostFloats(y), columns, { bias: hostFloats(bias), gelu: false });
      return y;
    });
  },
  VitParallelLinearGradX(inputs, { length, shape }) {
    const kernels = listOf(inputs, "kernel", length);
    const columns = kernels[0]!.shape[1]!;
    const dys = listOf(inputs, "dy", length).map((dy) => matrixOf(dy, columns));
    return [{ ...hostGradXOfMany(dys, kernels), shape }];
  },
  VitParallelLinearGradKernels(inputs, { length, columns, bias }) {
    const dys = listOf(inputs, "dy", length).map((dy) => matrixOf(dy, columns));
    const inner = tf.util.sizeFromShape(inputs.x.shape) / dys[0]!.shape[0]!;
    const dKernels = hostGradKernels(matrixOf(inputs.x, inner), dys);
    return bias ? [...dKernels, ...dys.map((dy) => sumRows(dy, [columns]))] : dKernels;
  },
};

registerKernels(webgpu, host, {
  VitParallelLinear(inputs: Tensors<Inputs>, { length }: { length: number }) {
    return Array.from({ length }, (_, i) => {
      return plainLinear(inputs.x, inputs[`kernel${i}`]!, inputs[`bias${i}`]!);
    });
  },
}, {
  VitParallelLinear(pool, inputs: Inputs, { length }: { length: number }) {
    return listOf(inputs, "kernel", length).map((kernel, i) =>
      simdForward(pool, inputs.x, kernel, { bias: inputs[`bias${i}`], gelu: false })
    );
  },
  VitParallelLinearGradX(
    pool,
    inputs: Record<string, TensorInfo>,
    { length, shape }: { length: number; shape: number[] },
  ) {
    const kernels = listOf(inputs, "kernel", length);
    return [{ ...simdGradXOfMany(pool, listOf(inputs, "dy", length), kernels), shape }];
  },
  VitParallelLinearGradKernels(
    pool,
    inputs: Inputs,
    { length, columns, bias }: { length: number; columns: number; bias: boolean },
  ) {
    const dys = listOf(inputs, "dy", length).map((dy) => matrixOf(dy, columns));
    return [
      ...dys.map((dy) => simdGradKernel(pool, inputs.x, dy)),
      ...(bias ? dys.map((dy) => simdSumRows(pool, dy, [columns])) : []),
    ];
  },
});
