import { assertEquals } from "@std/assert";
import { installMeters, Meter, useMeter } from "../../bench/instrument.ts";
import { deviceDone, flush } from "../../bench/sides.ts";
import { dispatch, webgpuBackend } from "../../lib/backend/compute.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

installMeters();

function metered<T>(meter: Meter, run: () => T): T {
  useMeter(meter);
  try {
    return run();
  } finally {
    useMeter(null);
  }
}

forEachBackend("Meter: counts dispatches of tfjs and of ours, and submits", async () => {
  const meter = new Meter();
  const x = tf.fill([4], 1);
  metered(meter, () => {
    tf.square(x).dispose();
    const [y] = dispatch({
      key: "instrument_test",
      wgsl: () =>
        `@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() { y[0] = x[0]; }`,
      inputs: [x],
      outputs: [{ shape: [4], dtype: "float32" }],
      workgroups: [1, 1, 1],
    });
    tf.backend().disposeData(y!.dataId);
    flush();
  });
  x.dispose();
  await deviceDone(false);
  const { dispatches, submits } = meter.counts;
  assertEquals({ dispatches, submits }, { dispatches: 2, submits: 1 });
}, { backends: ["webgpu"] });

forEachBackend("Meter: a buffer stays with its maker, whoever destroys it", () => {
  const { device } = webgpuBackend();
  const [maker, other] = [new Meter(), new Meter()];
  const usage = GPUBufferUsage.STORAGE;
  const buffer = metered(maker, () => {
    device.createBuffer({ size: 64, usage }).destroy();
    return device.createBuffer({ size: 256, usage });
  });
  assertEquals([maker.aliveBytes, maker.peakAliveBytes], [256, 256]);
  metered(other, () => buffer.destroy());
  assertEquals([maker.aliveBytes, maker.peakAliveBytes, maker.counts.buffers], [0, 256, 2]);
  assertEquals(other.aliveBytes, 0);
}, { backends: ["webgpu"] });
