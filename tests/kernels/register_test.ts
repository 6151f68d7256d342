import { assertEquals, assertThrows } from "@std/assert";
import { hostAllocate, hostFloats } from "../../lib/backend/host.ts";
import {
  registerGradient,
  registerKernels,
  runKernel,
  withoutNulls,
} from "../../lib/kernels/register.ts";
import { type TensorInfo, tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

interface Inputs {
  x: TensorInfo;
}

registerKernels({ TestNothing: () => {} }, { TestNothing: () => {} });
registerKernels({ TestTwo: () => [] }, {
  TestTwo: ({ x }: Inputs) => {
    const outputs = [hostAllocate([1]), hostAllocate([1])];
    outputs.forEach((output, i) => hostFloats(output)[0] = hostFloats(x)[0]! + i);
    return outputs;
  },
});
registerGradient<{ factor: number }>("TestSquare", {
  inputs: ["x"],
  backward: ([dy], [x], { factor }) => ({ x: () => dy!.mul(x!).mul(2 * factor) }),
});
registerKernels({ TestSquare: square }, { TestSquare: square });

function square({ x }: Inputs): TensorInfo {
  return runKernelOfTfjs("Multiply", { a: x, b: x });
}

/** A kernel itself, past the engine. */
function runKernelOfTfjs(name: string, inputs: Record<string, TensorInfo>): TensorInfo {
  const { kernelFunc } = tf.getKernel(name, tf.getBackend());
  return kernelFunc({ inputs, attrs: {}, backend: tf.backend() }) as TensorInfo;
}

forEachBackend("a kernel that returns nothing gives no tensors", () => {
  assertEquals(runKernel("TestNothing", {}), []);
});

forEachBackend("wasm and cpu share the host's form, lists of outputs too", async () => {
  const x = tf.tensor1d([3]);
  const outputs = runKernel("TestTwo", { x });
  assertEquals(await Promise.all(outputs.map(async (y) => (await y.data())[0])), [3, 4]);
  tf.dispose([x, ...outputs]);
}, { backends: ["wasm", "cpu"] });

forEachBackend("a gradient gets what it saves, and the attributes", async () => {
  const x = tf.tensor1d([3, -2]);
  const gradient = tf.grad((x) => runKernel<tf.Tensor>("TestSquare", { x }, { factor: 5 }))(x);
  assertEquals([...await gradient.data()], [30, -20]);
  tf.dispose([x, gradient]);
});

Deno.test("inputs that are not there are left out", () => {
  assertEquals(withoutNulls({ a: 1, b: null, c: undefined, d: 0 }), { a: 1, d: 0 });
});

Deno.test("a kernel that is not registered is named", () => {
  assertThrows(() => runKernel("TestMissing", {}), Error, "TestMissing");
});
