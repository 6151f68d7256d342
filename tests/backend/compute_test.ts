import { assertEquals } from "@std/assert";
import { dispatch, dispatchCount, uniformWords, webgpuBackend } from "../../lib/backend/compute.ts";
import { inPrecision } from "../../lib/backend/precision.ts";
import { type TensorInfo, tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { unlessThere } from "../gpu_features.ts";

const webgpuOnly = { backends: ["webgpu"] } as const;

/** Adds a constant in place; one workgroup. */
function addInPlace(tensor: TensorInfo, size: number, constant: number): void {
  dispatch({
    key: `test_add_in_place`,
    wgsl: () => /* wgsl */ `
      struct Uniforms { size: u32, constant: f32 }
      @group(0) @binding(0) var<storage, read_write> data: array<f32>;
      @group(0) @binding(1) var<uniform> uniforms: Uniforms;
      @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if (id.x < uniforms.size) { data[id.x] += uniforms.constant; }
      }`,
    inputs: [],
    outputs: [tensor],
    uniforms: uniformWords([["u", size], ["f", constant]]),
    workgroups: [Math.ceil(size / 64), 1, 1],
  });
}

/** The values of a tensor that an op has just made; disposes of it. */
async function take(info: TensorInfo): Promise<number[]> {
  const tensor = tf.engine().makeTensorFromTensorInfo(info);
  const values = Array.from(await tensor.data());
  tensor.dispose();
  return values;
}

forEachBackend("a dispatch writes several outputs of its own types", async () => {
  const x = tf.tensor1d([1, 2, 3, 4]);
  const [doubled, count] = dispatch({
    key: "test_two_outputs",
    wgsl: () => /* wgsl */ `
      @group(0) @binding(0) var<storage, read> x: array<f32>;
      @group(0) @binding(1) var<storage, read_write> doubled: array<f32>;
      @group(0) @binding(2) var<storage, read_write> count: array<i32>;
      @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        doubled[id.x] = 2.0 * x[id.x];
        if (id.x == 0u) { count[0] = -4; }
      }`,
    inputs: [x],
    outputs: [{ shape: [4], dtype: "float32" }, { shape: [1], dtype: "int32" }],
    workgroups: [1, 1, 1],
  });
  assertEquals(await take(doubled!), [2, 4, 6, 8]);
  assertEquals(await take(count!), [-4]);
  x.dispose();
}, webgpuOnly);

forEachBackend("a module of float32 reaches the device as it was written", () => {
  const { device } = webgpuBackend();
  const createShaderModule = device.createShaderModule.bind(device);
  const codes: string[] = [];
  device.createShaderModule = (descriptor) => {
    codes.push(descriptor.code);
    return createShaderModule(descriptor);
  };
  const wgsl = `
@group(0) @binding(0) var<storage, read_write> made: array<f32>;
@compute @workgroup_size(1) fn main() { made[0] = 1.0; }
`;
  const outputs = [{ shape: [1], dtype: "float32" as const, stored: "activation" as const }];
  try {
    const request = { wgsl: () => wgsl, inputs: [], outputs };
    for (const precision of ["f32", "f16"] as const) {
      const [made] = inPrecision(
        precision,
        () => dispatch({ ...request, key: "test_as_written", workgroups: [1, 1, 1] }),
      );
      tf.backend().disposeData(made!.dataId);
    }
  } finally {
    device.createShaderModule = createShaderModule;
  }
  assertEquals(codes, [
    wgsl,
    `enable f16;\n${wgsl.replace("f32", "f16").replace("1.0;", "f16(1.0);")}`,
  ]);
}, { ...webgpuOnly, lacks: unlessThere("shader-f16") });

forEachBackend("in place, the host's cached copy is not read again", async () => {
  const x = tf.tensor1d([1, 2, 3]);
  assertEquals(Array.from(await x.data()), [1, 2, 3]);
  addInPlace(x, 3, 0.5);
  assertEquals(Array.from(await x.data()), [1.5, 2.5, 3.5]);
  x.dispose();
}, webgpuOnly);

forEachBackend("dispatches and tfjs kernels keep their order", async () => {
  const x = tf.tensor1d(new Float32Array(4096).fill(1));
  const before = x.sum();
  addInPlace(x, 4096, 1);
  const between = x.sum();
  addInPlace(x, 4096, 1);
  const after = x.sum();
  assertEquals((await before.data())[0], 4096);
  assertEquals((await between.data())[0], 8192);
  assertEquals((await after.data())[0], 12288);
  tf.dispose([x, before, between, after]);
}, webgpuOnly);

forEachBackend("uniforms of equal content share a buffer and others do not", async () => {
  const x = tf.tensor1d([0]);
  addInPlace(x, 1, 1);
  addInPlace(x, 1, 10);
  addInPlace(x, 1, 1);
  assertEquals(Array.from(await x.data()), [12]);
  x.dispose();
}, webgpuOnly);

forEachBackend("every dispatch is counted, also beyond a batch of submits", async () => {
  const x = tf.tensor1d([0]);
  const counted = dispatchCount;
  for (let i = 0; i < 40; i++) addInPlace(x, 1, 1);
  assertEquals(dispatchCount - counted, 40);
  assertEquals(Array.from(await x.data()), [40]);
  x.dispose();
}, webgpuOnly);

forEachBackend("tf.time measures a dispatch", async () => {
  const x = tf.tensor1d([0]);
  const { kernelMs } = await tf.time(() => addInPlace(x, 1, 1)) as { kernelMs: number };
  assertEquals(Number.isFinite(kernelMs) && kernelMs > 0, true, `kernelMs is ${kernelMs}`);
  x.dispose();
}, { ...webgpuOnly, lacks: unlessThere("timestamp-query") });

Deno.test("uniformWords packs words of each kind and fills up to 16 bytes", () => {
  const words = uniformWords([["u", 2 ** 32 - 1], ["i", -2], ["f", 1.5], ["u", 3], ["u", 4]]);
  assertEquals([...words], [0xffffffff, 0xfffffffe, 0x3fc00000, 3, 4, 0, 0, 0]);
});
