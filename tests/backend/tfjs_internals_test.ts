import { assert, assertEquals } from "@std/assert";
import {
  emptyPool,
  flushBackend,
  isShared,
  isTimed,
  shareData,
  webgpuInternals,
} from "../../lib/backend/tfjs_internals.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { unlessThere } from "../gpu_features.ts";

const onWebgpu = { backends: ["webgpu"] as const };

forEachBackend("shared data is known to be, until one tensor is left", async () => {
  const x = tf.tensor1d([1, 2]);
  assertEquals(isShared(x), false);
  const reshaped = x.reshape([2, 1]);
  assertEquals([isShared(x), isShared(reshaped)], [true, true]);
  reshaped.dispose();
  assertEquals(isShared(x), false);
  const same = tf.engine().makeTensorFromTensorInfo(shareData(x));
  assertEquals(isShared(x), true);
  x.dispose();
  assertEquals([isShared(same), ...await same.data()], [false, 1, 2]);
  same.dispose();
});

forEachBackend("a flush submits what tfjs has recorded", () => {
  const backend = webgpuInternals();
  const x = tf.tidy(() => tf.exp(tf.zeros([4096])));
  assert(backend.commandEncoder !== null);
  flushBackend();
  assertEquals(backend.commandEncoder, null);
  flushBackend();
  x.dispose();
}, onWebgpu);

forEachBackend("an emptied pool holds no buffer, and tfjs goes on", async () => {
  const { bufferManager } = webgpuInternals();
  const size = 5 * 4096 + 4;
  tf.tidy(() => void tf.exp(tf.fill([size], 1)));
  flushBackend();
  assert(bufferManager.numFreeBuffers > 0);
  const before = bufferManager.numBytesAllocated;
  emptyPool();
  assertEquals(bufferManager.numFreeBuffers, 0);
  assert(bufferManager.numBytesAllocated <= before - 4 * size);
  const x = tf.tidy(() => tf.sum(tf.fill([size], 1)));
  assertEquals((await x.data())[0], size);
  x.dispose();
}, onWebgpu);

forEachBackend("inside tf.time kernels are timed", async () => {
  assertEquals(isTimed(webgpuInternals()), false);
  let inside = false;
  await tf.time(() => {
    inside = isTimed(webgpuInternals());
  });
  assertEquals([inside, isTimed(webgpuInternals())], [true, false]);
}, { ...onWebgpu, lacks: unlessThere("timestamp-query") });
