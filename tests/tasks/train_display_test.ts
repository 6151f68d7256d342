import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { EpochLine, StepEvent } from "../../lib/train/events.ts";
import { type DisplayOptions, TrainDisplay } from "../../tasks/train_display.ts";
import { FakeScreen } from "./fake_screen.ts";

const stepEvent = (step: number): StepEvent => ({
  ...{ type: "step", epoch: 1, epochs: 2, stepInEpoch: step, stepsPerEpoch: 10, step },
  ...{ imagesSeen: step * 8, skippedSteps: 0, loss: 4.5, accuracy: 0.1, top5: 0.3 },
});

const line: EpochLine = {
  ...{ epoch: 1, step: 10, loss: 4.5, accuracy: 0.1, top5: 0.3 },
  ...{ valLoss: 4.4, valAccuracy: 0.2, valTop5: 0.5 },
  ...{ learningRate: 1e-3, seconds: 12.3, date: "2026-11-25T17:46:16Z" },
};

/** Shows an epoch of ten steps that take `ms` each, the first one ten seconds. */
function showEpoch(screen: FakeScreen, ms: number, options?: DisplayOptions, json = false): void {
  const display = new TrainDisplay(screen.lines(json), options);
  display.handle({ type: "start", step: 0, epochs: 2, stepsPerEpoch: 10 });
  for (let step = 1; step <= 10; step++) {
    screen.time += step === 1 ? 10_000 : ms;
    display.handle(stepEvent(step));
  }
  display.handle({ type: "epoch", line, isBest: true });
}

Deno.test("kernels, the first step, then by time, and the epoch", () => {
  const screen = new FakeScreen(true, 120);
  showEpoch(screen, 60, { compiles: true });
  const drawn = screen.text.split("\r\x1b[2K").map((text) => text.trimEnd());
  assertEquals(drawn[1], "Compiling kernels; the first step takes longest …");
  const steps = drawn.slice(0, -1);
  const shown = steps.flatMap((text) => /^Epoch 1\/2 +(\d+)\/10 /.exec(text)?.[1] ?? []);
  // Every 100 ms at 60 ms a step.
  assertEquals(shown, ["1", "3", "5", "7", "9"]);
  assert(!drawn[2]!.includes("img/s"), "a rate from no timed step");
  assertStringIncludes(drawn.at(-2)!, "60ms/step 133 img/s eta 00:00:01");
  assertStringIncludes(screen.shown(), "Epoch 1/2  10/10 [");
  assertStringIncludes(screen.shown(), "val_accuracy: 0.2000");
});

Deno.test("a file has the first step and the epoch, and a line each 30 seconds", () => {
  const screen = new FakeScreen(false);
  showEpoch(screen, 11_000);
  const steps = screen.text.split("\n").map((line) => /(\d+)\/10/.exec(line)?.[1]);
  assertEquals(steps, ["1", "4", "7", "10", "10", undefined]);
});

Deno.test("a smaller model is named once, where over an hour is left and nobody stops the run", () => {
  const hint = (duration: string) => `hint: ${duration}`;
  const count = (ms: number, options: DisplayOptions) => {
    const screen = new FakeScreen(true);
    showEpoch(screen, ms, options);
    return screen.text.split("hint: ").length - 1;
  };
  assertEquals(count(300_000, { hint }), 1);
  assertEquals(count(100_000, { hint }), 0);
  assertEquals(count(300_000, {}), 0);
  assertEquals(count(300_000, { hint, signal: AbortSignal.abort() }), 0);
});

Deno.test("one step gives no rate, not even in the line of its epoch", () => {
  const screen = new FakeScreen(false);
  const display = new TrainDisplay(screen.lines());
  display.handle({ type: "start", step: 0, epochs: 1, stepsPerEpoch: 1 });
  screen.time = 3;
  display.handle({ ...stepEvent(1), epochs: 1, stepsPerEpoch: 1 });
  display.handle({ type: "epoch", line: { ...line, step: 1 }, isBest: true });
  assert(!/img\/s|ms\/step|eta/.test(screen.text), screen.text);
});

Deno.test("a resumed epoch counts the images since it went on", () => {
  const screen = new FakeScreen(true, 120);
  const display = new TrainDisplay(screen.lines());
  display.handle({ type: "start", step: 5, epochs: 2, stepsPerEpoch: 10 });
  for (let step = 6; step <= 9; step++) {
    screen.time += 1000;
    display.handle(stepEvent(step));
  }
  assertStringIncludes(screen.shown(), "1000ms/step 8.0 img/s");
});

Deno.test("with JSON an epoch is an object", () => {
  const screen = new FakeScreen(true);
  showEpoch(screen, 60, { compiles: true }, true);
  assertEquals(JSON.parse(screen.text), line);
});

Deno.test("from the second epoch on a terminal has a small curve of val_accuracy, a file none", () => {
  for (const isTerminal of [true, false]) {
    const screen = new FakeScreen(isTerminal, 200);
    const display = new TrainDisplay(screen.lines());
    display.handle({ type: "start", step: 0, epochs: 3, stepsPerEpoch: 10 });
    [0.1, 0.3, 0.2].forEach((valAccuracy, i) => {
      display.handle({
        type: "epoch",
        line: { ...line, epoch: i + 1, step: 10 * (i + 1), valAccuracy },
        isBest: i === 1,
      });
    });
    const [, second, third] = screen.shown().split("\n");
    assertEquals([second!.includes(" ▁█  (best)"), third!.endsWith(" ▁█▅")], [
      isTerminal,
      isTerminal,
    ]);
  }
});
