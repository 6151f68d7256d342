import { assertEquals, assertStrictEquals } from "@std/assert";
import { hostAllocate, hostFloats, hostInts } from "../../lib/backend/host.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

const host = { backends: ["wasm", "cpu"] } as const;

forEachBackend("a view reads the tensor", () => {
  const x = tf.tensor2d([[1, 2], [3, 4]]);
  assertEquals([...hostFloats(x)], [1, 2, 3, 4]);
  x.dispose();
}, host);

forEachBackend("a view writes the tensor", async () => {
  const x = tf.tensor1d([1, 2, 3]);
  hostFloats(x)[1] = 7;
  assertEquals(Array.from(await x.data()), [1, 7, 3]);
  x.dispose();
}, host);

forEachBackend("an allocated tensor takes part in tfjs ops", async () => {
  const info = hostAllocate([2, 2]);
  hostFloats(info).set([1, 2, 3, 4]);
  const x = tf.engine().makeTensorFromTensorInfo(info);
  const doubled = x.mul(2);
  assertEquals(doubled.shape, [2, 2]);
  assertEquals(Array.from(await doubled.data()), [2, 4, 6, 8]);
  tf.dispose([x, doubled]);
}, host);

forEachBackend("integers are viewed as integers", async () => {
  const info = hostAllocate([3], "int32");
  hostInts(info).set([-1, 0, 2 ** 31 - 1]);
  const x = tf.engine().makeTensorFromTensorInfo(info);
  assertStrictEquals(x.dtype, "int32");
  assertEquals(Array.from(await x.data()), [-1, 0, 2 ** 31 - 1]);
  x.dispose();
}, host);

forEachBackend("a tensor made from a plain array is viewed and written in place", async () => {
  const x = tf.tensor([1, 2, 3], [3], "int32");
  hostInts(x)[0] = 9;
  assertEquals(Array.from(await x.data()), [9, 2, 3]);
  x.dispose();
}, host);
