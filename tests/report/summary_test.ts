import { assert, assertEquals } from "@std/assert";
import { bestEpoch, formatSummary, type RunSummary, shellWord } from "../../lib/report/summary.ts";

const summary: RunSummary = {
  run: "runs/cifar100-2026-11-25T17-46-16",
  epochs: 100,
  step: 17_600,
  best: { epoch: 93, valAccuracy: 0.5428 },
  test: { loss: 1.8672, accuracy: 0.5514, top5: 0.8186 },
  seconds: 3725,
};

Deno.test("the end of a run: best epoch, test, time, folder and what to do next", () => {
  assertEquals(formatSummary(summary), [
    "Best epoch: 93 of 100 (val_accuracy 54.28 %)",
    "test: loss 1.8672  top-1 55.14 %  top-5 81.86 %",
    "Time: 01:02:05, step 17600",
    "Run: runs/cifar100-2026-11-25T17-46-16",
    "Next:",
    "  deno task eval runs/cifar100-2026-11-25T17-46-16",
    "  deno task predict runs/cifar100-2026-11-25T17-46-16 photo.jpg",
    "  deno task report runs/cifar100-2026-11-25T17-46-16",
    "  deno task export runs/cifar100-2026-11-25T17-46-16 --format onnx --out model.onnx",
  ]);
});

Deno.test("a report that was made is named among what there is, and no more to be done", () => {
  const lines = formatSummary({ ...summary, report: "runs/a/report.html" });
  assertEquals(lines[4], "Report: runs/a/report.html");
  assert(!lines.join().includes("deno task report"));
});

Deno.test("without validation the newest epoch is the best, and it is said", () => {
  const lines = formatSummary({ ...summary, best: { epoch: 100, valAccuracy: null } });
  assertEquals(lines[0], "Best epoch: 100 of 100 (the newest, as no images are held out)");
  assert(formatSummary({ ...summary, best: null })[0]!.startsWith("test: "));
});

Deno.test("the best epoch is the first of the best, or the newest where nothing is validated", () => {
  const history = (...values: (number | null)[]) =>
    values.map((valAccuracy, i) => ({ epoch: i + 1, valAccuracy }));
  assertEquals(bestEpoch(history(0.1, 0.3, 0.3, 0.2)), { epoch: 2, valAccuracy: 0.3 });
  assertEquals(bestEpoch(history(0, 0)), { epoch: 1, valAccuracy: 0 });
  assertEquals(bestEpoch(history(null, null)), { epoch: 2, valAccuracy: null });
  assertEquals(bestEpoch([{ epoch: 1 }]), { epoch: 1, valAccuracy: null });
  assertEquals(bestEpoch([]), null);
});

Deno.test("a path is one word of a shell", () => {
  assertEquals(shellWord("runs/a-1_b.c"), "runs/a-1_b.c");
  assertEquals(shellWord("my runs/it's"), `'my runs/it'\\''s'`);
  assertEquals(shellWord(""), "''");
});
