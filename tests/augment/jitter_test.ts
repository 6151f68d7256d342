import { assertAlmostEquals, assertEquals } from "@std/assert";
import { jitter } from "../../lib/augment/jitter.ts";

const made = (draws: number[], shares: number[]) => jitter.operations((n) => draws[n]!, shares, 32);

Deno.test("each factor is within its share of 1", () => {
  const factors = (draw: number) =>
    Object.fromEntries(
      made([draw, draw, draw, 0], [0.4, 0.2, 1]).map(({ name, magnitude }) => [name, magnitude]),
    );
  assertEquals(factors(0), { brightness: 0.6, contrast: 0.8, color: 0 });
  const { brightness, contrast, color } = factors(1 - 2 ** -24);
  assertAlmostEquals(brightness!, 1.4, 1e-6);
  assertAlmostEquals(contrast!, 1.2, 1e-6);
  assertAlmostEquals(color!, 2, 1e-6);
});

Deno.test("one number draws each of the six orders alike", () => {
  const counts = new Map<string, number>();
  for (let i = 0; i < 600; i++) {
    const order = made([0, 0, 0, (i + 0.5) / 600], [1, 1, 1]).map(({ name }) => name).join();
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  assertEquals([...counts.values()], Array(6).fill(100));
});

Deno.test("a share of 0 leaves its operation out, and costs no pass", () => {
  assertEquals(jitter.rounds([0.4, 0, 0.4]), 2);
  assertEquals(made([0.5, 0.5, 0.5, 0.9], [0.4, 0, 0.4]), [
    { name: "color", magnitude: 1 },
    { name: "brightness", magnitude: 1 },
  ]);
  assertEquals([jitter.rounds([0, 0, 0]), made([0, 0, 0, 0], [0, 0, 0])], [0, []]);
});
