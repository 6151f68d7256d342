import { assertEquals } from "@std/assert";
import { FakeScreen } from "./fake_screen.ts";

Deno.test("a line that stays takes the place of an unfinished one", () => {
  const screen = new FakeScreen(true);
  const lines = screen.lines();
  lines.say("a");
  lines.progress("1/3");
  lines.progress("2/3");
  lines.notice("attention");
  lines.progress("3/3");
  lines.say("b");
  assertEquals(screen.shown(), "a\nattention\nb\n");
});

Deno.test("progress never fills the last column of a terminal", () => {
  const screen = new FakeScreen(true, 10);
  screen.lines().progress("0123456789");
  assertEquals(screen.shown(), "012345678");
});

Deno.test("progress is due every 100 ms on a terminal and every 30 s elsewhere", () => {
  for (const [isTerminal, interval] of [[true, 100], [false, 30_000]] as const) {
    const screen = new FakeScreen(isTerminal);
    const lines = screen.lines();
    assertEquals(lines.isProgressDue, true);
    lines.progress("x");
    screen.time = interval - 1;
    assertEquals(lines.isProgressDue, false);
    screen.time = interval;
    assertEquals(lines.isProgressDue, true);
  }
});

Deno.test("where the output is no terminal each line stays, and evaluations are not shown", () => {
  const screen = new FakeScreen(false);
  const lines = screen.lines();
  lines.progress("1/3");
  lines.evaluation("Testing", 1, 2);
  lines.say("end");
  assertEquals([screen.text, lines.width], ["1/3\nend\n", Infinity]);
});

Deno.test("with JSON nothing for people stands on standard output", () => {
  const screen = new FakeScreen(true);
  const lines = screen.lines(true);
  lines.progress("1/3");
  lines.evaluation("Testing", 1, 2);
  lines.notice("attention");
  lines.say("{}");
  assertEquals([screen.text, screen.errors], ["{}\n", "attention\n"]);
});

Deno.test("a quiet task prints results, and what a person should read on standard error", () => {
  const screen = new FakeScreen(true);
  const lines = screen.lines(false, true);
  lines.progress("1/3");
  lines.evaluation("Testing", 1, 2);
  lines.remark("Epoch 1");
  lines.notice("attention");
  lines.say("result");
  assertEquals([screen.text, screen.errors], ["result\n", "attention\n"]);
});
