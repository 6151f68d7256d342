import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { dispatch } from "../../lib/backend/compute.ts";
import {
  adviseBatch,
  assertFits,
  assertGpuHealthy,
  bufferLimit,
  checkGpu,
  clearGpuErrors,
  currentGpu,
  type Gpu,
  type GpuOptions,
  largestBatch,
  registerWebgpu,
  requestGpu,
  withGpuCheck,
} from "../../lib/backend/device.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { UserError } from "../../lib/errors.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

const webgpuOnly = { backends: ["webgpu"] } as const;

/** Runs `body` on a device of its own under tfjs's "webgpu", then goes back to the shared one. */
async function withOwnGpu(
  options: GpuOptions,
  body: (gpu: Gpu) => Promise<void>,
): Promise<void> {
  const shared = currentGpu()!;
  const gpu = (await requestGpu(options))!;
  await tf.setBackend("cpu");
  registerWebgpu(gpu);
  await tf.setBackend("webgpu");
  try {
    await body(gpu);
  } finally {
    await tf.setBackend("cpu");
    registerWebgpu(shared);
    await selectBackend("webgpu");
    gpu.device.destroy();
  }
}

forEachBackend("the device has the adapter's limits, and subgroups where it says so", async () => {
  const gpu = currentGpu()!;
  const adapter = (await navigator.gpu.requestAdapter())!;
  const { maxStorageBuffersPerShaderStage, maxBufferSize } = gpu.device.limits;
  assertEquals(maxStorageBuffersPerShaderStage, adapter.limits.maxStorageBuffersPerShaderStage);
  assertEquals(maxBufferSize, adapter.limits.maxBufferSize);
  assert(bufferLimit() === gpu.bufferLimit && gpu.bufferLimit <= maxBufferSize);
  assertEquals(gpu.features.has("subgroups"), gpu.device.features.has("subgroups"));
}, webgpuOnly);

forEachBackend("an invalid shader becomes an error with the WebGPU text", async () => {
  const [output] = dispatch({
    key: "invalid_shader",
    wgsl: () => "@compute @workgroup_size(1) fn main() { out[0] = nonsense; }",
    inputs: [],
    outputs: [{ shape: [1], dtype: "float32" }],
    workgroups: [1, 1, 1],
  });
  const error = await assertRejects(() => checkGpu(), Error);
  assertStringIncludes(error.message, "GPUValidationError");
  assertStringIncludes(error.message, "no definition in scope");
  // It belonged to that call; the next one starts clean.
  assertGpuHealthy();
  tf.dispose(tf.engine().makeTensorFromTensorInfo(output!));
}, webgpuOnly);

forEachBackend("an awaited read is late enough to see the error", async () => {
  const gpu = currentGpu()!;
  // Large enough that tfjs does not compute it on the CPU.
  const x = tf.tidy(() => tf.zeros([512, 512]).sum());
  gpu.device.createBuffer({ size: 16, usage: 0xffff });
  await x.data();
  assertThrows(() => assertGpuHealthy(), Error, "GPUValidationError");
  clearGpuErrors(gpu);
  x.dispose();
}, webgpuOnly);

forEachBackend("the loss of the device is noticed", async () => {
  await withOwnGpu({}, async (gpu) => {
    await checkGpu();
    gpu.device.destroy();
    await gpu.device.lost;
    const error = assertThrows(() => assertGpuHealthy(gpu), UserError);
    assertStringIncludes(error.message, "destroyed");
    assertStringIncludes(error.message, "--resume");
  });
}, webgpuOnly);

forEachBackend("a read that fails since the device is lost says so", async () => {
  await withOwnGpu({}, async (gpu) => {
    const x = tf.tidy(() => tf.zeros([512, 512]).sum());
    gpu.device.destroy();
    await assertRejects(() => withGpuCheck(() => x.data()), UserError, "device was lost");
    x.dispose();
  });
}, webgpuOnly);

forEachBackend("a checked read throws the error of the work before it", async () => {
  const x = tf.tidy(() => tf.zeros([512, 512]).sum());
  currentGpu()!.device.createBuffer({ size: 16, usage: 0xffff });
  await assertRejects(() => withGpuCheck(() => x.data()), Error, "GPUValidationError");
  clearGpuErrors(currentGpu()!);
  x.dispose();
}, webgpuOnly);

forEachBackend("a checked read hands on the value, and errors not of the GPU", async () => {
  assertEquals(await withGpuCheck(() => Promise.resolve(3)), 3);
  await assertRejects(
    () => withGpuCheck(() => Promise.reject(new RangeError("mine"))),
    RangeError,
    "mine",
  );
});

forEachBackend("running out of device memory is the user's error, with advice", () => {
  const gpu = currentGpu()!;
  gpu.firstError = new GPUOutOfMemoryError("Not enough memory left");
  gpu.errorCount = 1;
  const error = assertThrows(() => assertGpuHealthy(), UserError);
  assertStringIncludes(error.message, "Not enough memory left; take a smaller batch");
  clearGpuErrors(gpu);
}, webgpuOnly);

forEachBackend("a lost device is replaced by the next selection", async () => {
  const lost = currentGpu()!;
  lost.device.destroy();
  await lost.device.lost;
  const { gpu } = await selectBackend("webgpu");
  assert(gpu && gpu !== lost);
  assertEquals(currentGpu(), gpu);
  const x = tf.tidy(() => tf.ones([8]).sum());
  assertEquals((await x.data())[0], 8);
  x.dispose();
}, webgpuOnly);

forEachBackend("a tensor above the limit is refused with a batch that fits", async () => {
  await withOwnGpu({ bufferLimit: 2 ** 20 }, () => {
    const tensors = tf.memory().numTensors;
    const error = assertThrows(() => tf.tidy(() => tf.zeros([256, 2048]).add(1)), UserError);
    const reason = "A tensor would take 2.0 MiB, above this GPU's limit of 1.0 MiB a buffer; ";
    assertEquals(error.message, `${reason}take a smaller model, or --backend wasm.`);
    // Whoever knows the batch can say more.
    assertEquals(
      (adviseBatch(error, 256) as Error).message,
      `${reason}take a batch of at most 128 instead of 256 (--batch-size 128).`,
    );
    const other = new Error("another one");
    assertEquals(adviseBatch(other, 256), other);
    assertEquals(tf.memory().numTensors, tensors);
    return Promise.resolve();
  });
}, webgpuOnly);

Deno.test("assertFits names the tensor, its size, the limit and the batch that fits", () => {
  const scores = { name: "The attention weights", bytes: 3000, batchSize: 30 };
  const error = assertThrows(() => assertFits(scores, 1024), UserError);
  assertEquals(
    error.message,
    "The attention weights would take 3000 bytes, above this GPU's limit of 1024 bytes a buffer; " +
      "take a batch of at most 10 instead of 30 (--batch-size 10).",
  );
  assertFits(scores, 3000);
});

Deno.test("assertFits advises no batch when one image is too many", () => {
  const error = assertThrows(
    () => assertFits({ name: "The kernel", bytes: 4000, batchSize: 2 }, 1024),
    UserError,
  );
  assertStringIncludes(error.message, "a smaller model");
});

Deno.test("largestBatch fills the limit exactly", () => {
  assertEquals(largestBatch(100, 1000), 10);
  assertEquals(largestBatch(101, 1000), 9);
});

forEachBackend("host backends have no limit and are always healthy", async () => {
  assertEquals(bufferLimit(), Infinity);
  assertEquals(currentGpu(), undefined);
  await checkGpu();
}, { backends: ["wasm", "cpu"] });
