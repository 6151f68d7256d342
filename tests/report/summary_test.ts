import { assert, assertEquals } from "@std/assert";
import { formatSummary, type RunSummary, shellWord } from "../../lib/report/summary.ts";

const summary: RunSummary = {
  run: "runs/cifar100-2026-11-25T18-00-00",
  epochs: 5,
  step: 1760,
  best: { epoch: 4, valAccuracy: 0.255 },
  test: { loss: 3.0412, accuracy: 0.2481, top5: 0.5333 },
  seconds: 3725,
};

Deno.test("the end of a run says the best epoch, the test, the time, the folder and what is next", () => {
  const lines = formatSummary(summary);
  assertEquals(lines, [
    "Best epoch: 4 of 5 (val_accuracy 25.50 %)",
    "test: loss 3.0412  top-1 24.81 %  top-5 53.33 %",
    "Time: 01:02:05, step 1760",
    "Run: runs/cifar100-2026-11-25T18-00-00",
    "Next:",
    "deno task eval runs/cifar100-2026-11-25T18-00-00",
    "deno task predict runs/cifar100-2026-11-25T18-00-00 photo.jpg",
    "deno task export runs/cifar100-2026-11-25T18-00-00 --format onnx --out vit.onnx",
  ]);
  assert(lines.every((line) => line.length <= 80), "too wide for 80 columns");
});

Deno.test("without validation the newest weights are the best, and it is said", () => {
  const [line] = formatSummary({ ...summary, best: { epoch: 5, valAccuracy: null } });
  assertEquals(line, "Best epoch: 5 of 5 (the newest, as no images are held out)");
});

Deno.test("paths are quoted where a shell would take them apart", () => {
  assertEquals(
    ["runs/a-1", "my runs/a", "it's", ""].map(shellWord),
    ["runs/a-1", "'my runs/a'", `'it'\\''s'`, "''"],
  );
});
