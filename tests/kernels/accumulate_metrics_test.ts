import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { accumulateMetrics, zeroTotals } from "../../lib/kernels/accumulate_metrics.ts";
import { randomUniform, streamKey } from "../../lib/random.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

function randomStats(batch: number): Float32Array {
  const key = streamKey(3, 1, batch);
  return Float32Array.from({ length: batch * 3 }, (_, i) => {
    const u = randomUniform(key, i);
    return i % 3 === 0 ? u * 5 : Number(u < 0.3);
  });
}

function add(totals: tf.Tensor2D, row: number, stats: Float32Array): void {
  tf.tidy(() => accumulateMetrics(totals, row, tf.tensor2d(stats, [stats.length / 3, 3])));
}

forEachBackend("accumulateMetrics sums each batch into its row and no other", async () => {
  // Fewer images than lanes, as many, and more.
  const batches = [1, 64, 150];
  const totals = zeroTotals(5);
  const stats = batches.map(randomStats);
  stats.forEach((values, i) => add(totals, i + 1, values));
  const rows = await totals.array();
  assertEquals([rows[0], rows[4]], [[0, 0, 0, 0], [0, 0, 0, 0]]);
  batches.forEach((batch, i) => {
    const sums = [0, 0, 0];
    stats[i]!.forEach((value, at) => sums[at % 3]! += value);
    const [loss, top1, top5, images] = rows[i + 1]!;
    assertAlmostEquals(loss! / sums[0]!, 1, 1e-6);
    assertEquals([top1, top5, images], [sums[1], sums[2], batch]);
  });
  totals.dispose();
});

forEachBackend("accumulateMetrics overwrites a row, also after a read", async () => {
  const totals = zeroTotals(1);
  add(totals, 0, Float32Array.of(2, 1, 1));
  assertEquals([...await totals.data()], [2, 1, 1, 1]);
  add(totals, 0, Float32Array.of(0.5, 0, 1, 0.25, 0, 0));
  assertEquals([...await totals.data()], [0.75, 0, 1, 2]);
  totals.dispose();
});

forEachBackend("accumulateMetrics keeps a NaN and an infinite loss in their rows", async () => {
  const totals = zeroTotals(3);
  add(totals, 0, Float32Array.of(1, 0, 0, NaN, 0, 0));
  add(totals, 1, Float32Array.of(Infinity, 0, 1));
  add(totals, 2, Float32Array.of(1, 0, 1));
  const losses = (await totals.array()).map(([loss]) => loss!);
  assertEquals(losses, [NaN, Infinity, 1]);
  totals.dispose();
});

forEachBackend("accumulateMetrics refuses a row that is not there", () => {
  const totals = zeroTotals(2);
  assertThrows(() => add(totals, 2, Float32Array.of(1, 0, 0)), RangeError, "have no row 2");
  totals.dispose();
}, { backends: ["cpu"] });
