/** What stands on a terminal, a file or a pipe while a run tells its events. */
import { assert, assertEquals } from "@std/assert";
import type { RunEvent } from "../../lib/train/events.ts";
import { Lines } from "../../tasks/lines.ts";
import { type DisplayOptions, TrainDisplay } from "../../tasks/train_display.ts";

/** A screen whose clock the test moves. */
class FakeScreen {
  time = 0;
  written: string[] = [];
  errors: string[] = [];

  constructor(readonly isTerminal: boolean, private readonly width = 80) {}

  columns = () => this.width;
  write = (text: string) => void this.written.push(text);
  writeError = (line: string) => void this.errors.push(line);

  /** What a terminal would show after all that was written. */
  get rows(): string[] {
    const rows = [""];
    const text = this.written.join("").replaceAll("\x1b[2K", "\f");
    for (const part of text.split(/(\r|\n|\f)/)) {
      if (part === "\n") rows.push("");
      else if (part === "\f") rows[rows.length - 1] = "";
      else if (part !== "\r") rows[rows.length - 1] += part;
    }
    return rows;
  }

  display(options: DisplayOptions = {}, json = false): TrainDisplay {
    return new TrainDisplay(new Lines(this, json, () => this.time), options);
  }
}

const start: RunEvent = { type: "start", step: 0, epochs: 2, stepsPerEpoch: 10 };

function stepEvent(step: number, fields: Partial<RunEvent> = {}): RunEvent {
  return {
    ...{ type: "step", epoch: 1, epochs: 2, stepInEpoch: step, stepsPerEpoch: 10, step },
    ...{ imagesSeen: step * 8, skippedSteps: 0, loss: 4.5, accuracy: 0.1, top5: 0.3 },
    ...fields,
  } as RunEvent;
}

const epochEvent: RunEvent = {
  type: "epoch",
  isBest: true,
  line: {
    ...{ epoch: 1, step: 10, loss: 4.4, accuracy: 0.11, top5: 0.31 },
    ...{ valLoss: 4.3, valAccuracy: 0.12, valTop5: 0.33 },
    ...{ learningRate: 1e-3, seconds: 12.2, date: "2026-11-25T17:46:16Z" },
  },
};

Deno.test("a terminal shows compiling at once, then the first step, then ten lines a second", () => {
  const screen = new FakeScreen(true);
  const display = screen.display({ compiles: true });
  display.handle(start);
  assertEquals(screen.rows, ["Compiling kernels; the first step takes longest …"]);
  screen.time = 60;
  display.handle(stepEvent(1));
  assert(screen.rows[0]!.startsWith("Epoch 1/2   1/10 "), screen.rows[0]);
  let lines = screen.written.length;
  for (let step = 2; step <= 10; step++) {
    screen.time += 30;
    display.handle(stepEvent(step));
  }
  // 270 ms.
  assertEquals(screen.written.length - lines, 2);
  lines = screen.written.length;
  screen.time += 30_000;
  display.handle(stepEvent(11));
  assertEquals(screen.written.length - lines, 1);
});

Deno.test("without kernels to compile nothing is said of them", () => {
  const screen = new FakeScreen(true);
  screen.display().handle(start);
  assertEquals(screen.written, []);
});

Deno.test("a file gets the first step, a line every 30 s and each epoch, on one line each", () => {
  const screen = new FakeScreen(false, 40);
  const display = screen.display();
  display.handle(start);
  for (let step = 1; step <= 10; step++) {
    screen.time += 8000;
    display.handle(stepEvent(step));
  }
  display.handle({ type: "validation", done: 5, count: 10 });
  display.handle(epochEvent);
  const steps = screen.rows.map((row) => /(\d+)\/10 \[/.exec(row)?.[1]).filter(Boolean);
  assertEquals(steps, ["1", "5", "9", "10"]);
  assertEquals(
    screen.rows.at(-2),
    "Epoch 1/2  10/10 [====================] 12s 8000ms/step 1.0 img/s - loss: 4.4000 - accuracy: " +
      "0.1100 - top5: 0.3100 - val_loss: 4.3000 - val_accuracy: 0.1200 - val_top5: 0.3300  (best)",
  );
});

for (const width of [40, 60, 79, 80, 120, 200]) {
  Deno.test(`no line of ${width} columns wraps, and none runs into another`, () => {
    const screen = new FakeScreen(true, width);
    const display = screen.display({ compiles: true });
    display.handle(start);
    for (let step = 1; step <= 10; step++) {
      screen.time += 150;
      display.handle(stepEvent(step));
      if (step === 5) display.handle({ type: "notice", text: "A short notice." });
    }
    display.handle({ type: "validation", done: 5, count: 10 });
    display.handle(epochEvent);
    screen.time += 1000;
    display.handle({ type: "test", done: 5, count: 10 });
    const { rows } = screen;
    assertEquals([rows[0], rows.at(-1)], ["A short notice.", "Testing 5/10"]);
    assert(rows[1]!.startsWith("Epoch 1/2"), rows[1]);
    if (width >= 60) assert(rows.every((row) => row.length < width), rows.join("\n"));
    assert(rows.join("\n").includes("loss"));
  });
}

Deno.test("one step is no rate: neither in the line nor in the epoch", () => {
  const screen = new FakeScreen(false);
  const display = screen.display();
  display.handle(start);
  screen.time = 50;
  display.handle(stepEvent(1, { stepsPerEpoch: 1 } as Partial<RunEvent>));
  display.handle(epochEvent);
  assert(!/img\/s|ms\/step|eta/.test(screen.rows.join("\n")), screen.rows.join("\n"));
});

Deno.test("a long run is told of tiny, once, as soon as a step is timed", () => {
  const screen = new FakeScreen(false);
  const display = screen.display({ hint: (duration) => `Hint: ${duration}` });
  display.handle(start);
  for (let step = 1; step <= 4; step++) {
    screen.time += 600_000;
    display.handle(stepEvent(step));
  }
  const hints = screen.rows.filter((row) => row.startsWith("Hint"));
  assertEquals(hints, ["Hint: 03:00:00"]);

  const quick = new FakeScreen(false);
  const other = quick.display({ hint: () => "Hint" });
  other.handle(start);
  for (let step = 1; step <= 4; step++) {
    quick.time += 100_000;
    other.handle(stepEvent(step));
  }
  assert(!quick.rows.includes("Hint"));
});

Deno.test("JSON is an object an epoch; what people should read goes to standard error", () => {
  const screen = new FakeScreen(true);
  const display = screen.display({ compiles: true }, true);
  display.handle(start);
  display.handle(stepEvent(1));
  display.handle({ type: "notice", text: "Something." });
  display.handle({ type: "save", step: 1 });
  display.handle(epochEvent);
  display.handle({ type: "test", done: 5, count: 10 });
  assertEquals(screen.errors, ["Something."]);
  assertEquals(screen.written.map((text) => JSON.parse(text)), [
    epochEvent.type === "epoch" && epochEvent.line,
  ]);
});
