import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  formatDuration,
  formatEpoch,
  formatMetrics,
  formatProgress,
  type ProgressLine,
} from "../../lib/report/progress.ts";

const line: ProgressLine = {
  epoch: 3,
  epochs: 100,
  step: 120,
  steps: 176,
  speed: { msPerStep: 125.4, imagesPerSecond: 2048.3 },
  secondsLeft: 751,
  metrics: { loss: 3.9, accuracy: 0.1, top5: 0.31234 },
};

Deno.test("a progress line as Keras has it", () => {
  assertEquals(
    formatProgress(line),
    "Epoch   3/100  120/176 [=============>......] 125ms/step 2048 img/s eta 00:12:31" +
      " - loss: 3.9000 - accuracy: 0.1000 - top5: 0.3123",
  );
});

Deno.test("the line keeps its width from the first step to the last", () => {
  const widths = [0, 1, 9, 10, 99, 100, 175, 176].flatMap((step) =>
    [1, 10, 100].map((epoch) => formatProgress({ ...line, epoch, step }).length)
  );
  assertEquals(new Set(widths).size, 1);
});

Deno.test("the bar is empty at the start and full only at the end", () => {
  const bar = (step: number) => /\[.*\]/.exec(formatProgress({ ...line, step }))![0];
  assertEquals(bar(0), "[>...................]");
  assertEquals(bar(175), "[===================>]");
  assertEquals(bar(176), "[====================]");
});

Deno.test("slow steps keep a digit where whole numbers would say nothing", () => {
  const slow = formatProgress({ ...line, speed: { msPerStep: 3.14159, imagesPerSecond: 0.51 } });
  assertEquals(slow.includes(" 3.1ms/step 0.5 img/s "), true, slow);
});

Deno.test("the line of a finished epoch has the time it took and the validation", () => {
  const metrics = { loss: 4.8863, accuracy: 0.0294, val_loss: 3.9661, val_accuracy: 0.0992 };
  assertEquals(
    formatEpoch({ ...line, metrics, seconds: 22.4 }),
    "Epoch   3/100  176/176 [====================] 22s 125ms/step 2048 img/s" +
      " - loss: 4.8863 - accuracy: 0.0294 - val_loss: 3.9661 - val_accuracy: 0.0992",
  );
  assertEquals(formatEpoch({ ...line, seconds: 3725 }).includes("] 01:02:05 125ms"), true);
});

Deno.test("durations", () => {
  const cases: [seconds: number, text: string][] = [
    [0, "00:00:00"],
    [59.6, "00:01:00"],
    [3599.4, "00:59:59"],
    [86_399.9, "1d 00:00:00"],
    [200_000, "2d 07:33:20"],
    [NaN, "--:--:--"],
    [Infinity, "--:--:--"],
    [-5, "--:--:--"],
  ];
  for (const [seconds, text] of cases) assertEquals(formatDuration(seconds), text, `${seconds}`);
});

Deno.test("metrics: null is left out, tiny and not finite ones stay readable", () => {
  assertEquals(
    formatMetrics({ loss: 0.0001234, zero: 0, val_loss: null, bad: NaN }),
    " - loss: 1.2340e-4 - zero: 0.0000 - bad: NaN",
  );
});

Deno.test("a line fits every width, and loss and accuracy are seen down to 50 columns", () => {
  const metrics = { loss: 3.9, accuracy: 0.1, top5: 0.31234 };
  for (let width = 10; width <= 140; width++) {
    const text = formatProgress({ ...line, metrics }, width);
    assert(text.length <= width, `${width}: ${text}`);
    if (width >= 50) assertStringIncludes(text, " - loss: 3.9000 - accuracy: 0.1000", `${width}`);
  }
  // The bar goes first, then what else is known.
  assertEquals(
    formatProgress(line, 79),
    "Epoch   3/100  120/176 [====>..] eta 00:12:31 - loss: 3.9000 - accuracy: 0.1000",
  );
  assertEquals(
    formatProgress(line, 80),
    "Epoch   3/100  120/176 125ms/step eta 00:12:31 - loss: 3.9000 - accuracy: 0.1000",
  );
});

Deno.test("the line of an epoch takes two lines where one is too narrow, each within the width", () => {
  const metrics = {
    ...{ loss: 4.8863, accuracy: 0.0294, top5: 0.1 },
    ...{ val_loss: 3.9661, val_accuracy: 0.0992, val_top5: 0.3 },
  };
  const epoch = { ...line, metrics, seconds: 22.4, isBest: true };
  for (let width = 40; width <= 180; width++) {
    const lines = formatEpoch(epoch, width).split("\n");
    for (const text of lines) assert(text.length <= width, `${width}: ${text}`);
    assert(lines.length <= 2 && lines[0]!.endsWith("  (best)") === (lines.length === 2));
    assertStringIncludes(lines.at(-1)!, "val_accuracy: 0.0992");
  }
  assertEquals(formatEpoch(epoch).split("\n").length, 1);
});

Deno.test("what was not timed is left out", () => {
  assertEquals(
    formatProgress({ ...line, speed: null, secondsLeft: null }),
    "Epoch   3/100  120/176 [=============>......] - loss: 3.9000 - accuracy: 0.1000 - top5: 0.3123",
  );
});

Deno.test("a small curve stands before what is best, on the first of two lines", () => {
  const epoch = {
    ...{ epoch: 2, epochs: 3, steps: 3, seconds: 4, speed: null, isBest: true, spark: "▁█" },
    metrics: { loss: 4.5, accuracy: 0.1, val_loss: 4, val_accuracy: 0.2 },
  };
  assert(formatEpoch(epoch).endsWith("val_accuracy: 0.2000 ▁█  (best)"), formatEpoch(epoch));
  const [first, second] = formatEpoch(epoch, 60).split("\n");
  assert(first!.endsWith(" ▁█  (best)") && first!.length <= 60, first);
  assert(second!.endsWith("val_accuracy: 0.2000"), second);
});
