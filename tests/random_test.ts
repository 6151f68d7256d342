import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { dispatch, uniformWords } from "../lib/backend/compute.ts";
import {
  dropThreshold,
  keepScale,
  permutation,
  randomBits,
  randomUniform,
  randomWgsl,
  streamKey,
  streamOfName,
} from "../lib/random.ts";
import { tf } from "../lib/tfjs.ts";
import { forEachBackend } from "./backends.ts";

forEachBackend("the WGSL bits are the TypeScript bits", async () => {
  const keys: [number, number, number][] = [
    [0, 0, 0],
    [42, 3, 1],
    [2 ** 31 - 1, streamOfName("blocks.0.mlp"), 17_600],
    [-1, 2 ** 31 - 1, 2 ** 32 - 1],
  ];
  const count = 1024;
  const expected = new Int32Array(count);
  for (const [seed, stream, step] of keys) {
    const [info] = dispatch({
      key: "test_random_bits",
      wgsl: () => /* wgsl */ `
        struct Uniforms { seed: u32, stream: u32, step: u32, count: u32 }
        @group(0) @binding(0) var<storage, read_write> bits: array<i32>;
        @group(0) @binding(1) var<uniform> u: Uniforms;
        ${randomWgsl}
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
          let key = stream_key(u.seed, u.stream, u.step);
          bits[id.x] = bitcast<i32>(random_bits(key, id.x * 0x01000193u));
        }`,
      inputs: [],
      outputs: [{ shape: [count], dtype: "int32" }],
      uniforms: uniformWords([["u", seed], ["u", stream], ["u", step], ["u", count]]),
      workgroups: [count / 64, 1, 1],
    });
    const key = streamKey(seed, stream, step);
    for (let i = 0; i < count; i++) expected[i] = randomBits(key, Math.imul(i, 0x01000193));
    const bits = tf.engine().makeTensorFromTensorInfo(info!);
    assertEquals(await bits.data(), expected);
    bits.dispose();
  }
}, { backends: ["webgpu"] });

Deno.test("bits are pure functions of seed, stream, step and index", () => {
  const bits = (seed: number, stream: number, step: number, index: number) =>
    randomBits(streamKey(seed, stream, step), index);
  assertEquals(bits(1, 2, 3, 4), bits(1, 2, 3, 4));
  assertNotEquals(bits(1, 2, 3, 4), bits(2, 2, 3, 4));
  assertNotEquals(bits(1, 2, 3, 4), bits(1, 3, 3, 4));
  assertNotEquals(bits(1, 2, 3, 4), bits(1, 2, 4, 4));
  assertNotEquals(bits(1, 2, 3, 4), bits(1, 2, 3, 5));
});

Deno.test("uniform numbers fill [0, 1) evenly", () => {
  const key = streamKey(7, 1, 1);
  const buckets = new Array<number>(16).fill(0);
  const count = 160_000;
  for (let i = 0; i < count; i++) {
    const bucket = Math.floor(randomUniform(key, i) * 16);
    buckets[bucket] = buckets[bucket]! + 1;
  }
  // Six standard deviations of a binomial count.
  for (const n of buckets) assert(Math.abs(n - count / 16) < 6 * Math.sqrt(count / 16));
});

Deno.test("streams of neighbouring steps agree on no more elements than chance", () => {
  const count = 100_000;
  const a = streamKey(7, 1, 1);
  const b = streamKey(7, 1, 2);
  let both = 0;
  for (let i = 0; i < count; i++) {
    if (randomUniform(a, i) < 0.1 && randomUniform(b, i) < 0.1) both++;
  }
  assert(Math.abs(both - count * 0.01) < 6 * Math.sqrt(count * 0.01));
});

Deno.test("a permutation holds every index once, in an order of its key", () => {
  const order = permutation(1000, streamKey(3, 1, 0));
  assertEquals([...order].sort((x, y) => x - y), Array.from({ length: 1000 }, (_, i) => i));
  assertEquals(order, permutation(1000, streamKey(3, 1, 0)));
  assertNotEquals(order, permutation(1000, streamKey(3, 1, 1)));
});

Deno.test("threshold and scale of a rate keep the expected value", () => {
  assertEquals(dropThreshold(0), 0);
  assertEquals(keepScale(0), 1);
  assertEquals(dropThreshold(0.5), 2 ** 31);
  assertEquals(keepScale(0.5), 2);
  assert(dropThreshold(0.1) <= 2 ** 32 - 1);
});
