import { assertEquals, assertThrows } from "@std/assert";
import { tf } from "../../lib/tfjs.ts";
import { noSums } from "../../lib/checkpoint/progress.ts";
import { addSums, DeviceMetrics, metricsOf } from "../../lib/train/metrics.ts";
import { forEachBackend } from "../backends.ts";

Deno.test("metrics are means over images", () => {
  assertEquals(metricsOf({ loss: 6, top1: 1, top5: 2, images: 4 }), {
    loss: 1.5,
    accuracy: 0.25,
    top5: 0.5,
  });
  assertEquals(addSums({ loss: 6, top1: 1, top5: 2, images: 4 }, noSums()), {
    loss: 6,
    top1: 1,
    top5: 2,
    images: 4,
  });
});

forEachBackend("a read brings each batch since the last read, in order", async () => {
  const metrics = new DeviceMetrics(2);
  const before = tf.memory().numTensors;
  const add = (...stats: number[]) =>
    tf.tidy(() => {
      const row = tf.tensor1d([metrics.nextRow], "int32");
      metrics.add(row, tf.tensor2d(stats, [stats.length / 3, 3]));
      metrics.advance();
    });
  add(1, 0, 1, 2, 1, 1);
  add(0.5, 0, 0);
  assertEquals(await metrics.take(), [
    { loss: 3, top1: 1, top5: 2, images: 2 },
    { loss: 0.5, top1: 0, top5: 0, images: 1 },
  ]);
  add(4, 1, 1);
  assertEquals(await metrics.take(), [{ loss: 4, top1: 1, top5: 1, images: 1 }]);
  assertEquals(await metrics.take(), []);
  assertEquals(tf.memory().numTensors, before);
  metrics.dispose();
});

forEachBackend("more batches than the capacity are an error, not a loss", () => {
  const metrics = new DeviceMetrics(1);
  assertEquals(metrics.nextRow, 0);
  metrics.advance();
  assertThrows(() => metrics.nextRow, RangeError);
  metrics.dispose();
}, { backends: ["cpu"] });
