import { assertEquals } from "@std/assert";
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

Deno.test("80 columns keep loss, accuracy and the time left; wider ones get more, then a bar", () => {
  const cases: [width: number, text: string][] = [
    [79, "Epoch   3/100  120/176 [====>..] eta 00:12:31 - loss: 3.9000 - accuracy: 0.1000"],
    [
      90,
      "Epoch   3/100  120/176 [====>..] 125ms/step eta 00:12:31 - loss: 3.9000 - accuracy: 0.1000",
    ],
    [
      116,
      "Epoch   3/100  120/176 [====>..] 125ms/step 2048 img/s eta 00:12:31" +
      " - loss: 3.9000 - accuracy: 0.1000 - top5: 0.3123",
    ],
    [60, "Epoch   3/100  120/176 - loss: 3.9000 - accuracy: 0.1000"],
    [50, "Epoch   3/100 - loss: 3.9000 - accuracy: 0.1000"],
    [30, "Epoch   3/100 - loss: 3.9000"],
    [20, "Epoch   3/100 - loss"],
  ];
  for (const [width, text] of cases) assertEquals(formatProgress(line, width), text, `${width}`);
});

Deno.test("no line is wider than its room, nor is a metric cut where there is room for it", () => {
  const metrics = {
    ...{ loss: 4.8863, accuracy: 0.0294, top5: 0.31 },
    ...{ val_loss: 3.9661, val_accuracy: 0.0992, val_top5: 0.2 },
  };
  for (let width = 1; width <= 200; width++) {
    const progress = formatProgress(line, width);
    assertEquals(progress.length <= width, true, progress);
    if (width < 33) continue;
    for (
      const text of formatEpoch({ ...line, metrics, seconds: 22, isBest: true }, width).split("\n")
    ) {
      assertEquals(text.length <= width, true, `${width}: ${text}`);
    }
  }
});

Deno.test("an epoch too wide for its terminal has its metrics on a second line", () => {
  const metrics = { loss: 4.8863, accuracy: 0.0294, val_loss: 3.9661, val_accuracy: 0.0992 };
  assertEquals(
    formatEpoch({ ...line, metrics, seconds: 22.4, isBest: true }, 79),
    "Epoch   3/100  176/176 [====================] 22s 125ms/step 2048 img/s  (best)\n" +
      "    loss: 4.8863 - accuracy: 0.0294 - val_loss: 3.9661 - val_accuracy: 0.0992",
  );
});

Deno.test("what was not timed is left out", () => {
  assertEquals(
    formatProgress({ ...line, speed: null, secondsLeft: null }, 79),
    "Epoch   3/100  120/176 [===>.] - loss: 3.9000 - accuracy: 0.1000 - top5: 0.3123",
  );
});
