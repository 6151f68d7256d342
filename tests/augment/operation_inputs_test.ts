import { assertEquals, assertNotEquals } from "@std/assert";
import type { DrawOptions } from "../../lib/augment/draws.ts";
import { parseAugmentations } from "../../lib/augment/list.ts";
import { drawOperationInputs, type ImageRows } from "../../lib/augment/operation_inputs.ts";

const draw = (text: string, options: Partial<DrawOptions> = {}) =>
  drawOperationInputs({
    ...{ batch: 7, size: 32, seed: 5, step: 9 },
    augmentations: parseAugmentations(text),
    ...options,
  });

Deno.test("a list has an input for each round of operations, and one of what is erased", () => {
  assertEquals(draw("none"), {});
  assertEquals(draw("flip|crop(4)|resizedcrop(0.5)"), {});
  assertEquals(draw("jitter(0,0,0)"), {});
  const shapes = (text: string) =>
    Object.entries(draw(text)).map(([name, { shape, values }]) => {
      assertEquals(values.length, shape[0] * shape[1]);
      return [name, ...shape];
    });
  assertEquals(shapes("flip|randaugment(2,9)|jitter(0.4,0,0)|erase(0.5)"), [
    ["operations0", 7, 3],
    ["operations1", 7, 3],
    ["operations2", 7, 3],
    ["erased", 7, 4],
  ]);
  assertEquals(shapes("erase(0.5)"), [["erased", 7, 4]]);
});

Deno.test("rounds come in the order of the list", () => {
  const { operations0, operations1, operations2 } = draw("trivialaugment|randaugment(2,9)");
  assertEquals(operations0, draw("trivialaugment").operations0);
  const { operations0: first, operations1: second } = draw("randaugment(2,9)");
  assertEquals([operations1, operations2], [first, second]);
});

Deno.test("inputs of a batch in parts are those of the whole, by seed and step alone", () => {
  const text = "randaugment(2,9)|jitter(0.4,0.4,0.4)|erase(0.5)";
  const whole = draw(text);
  const parts = [draw(text, { batch: 3 }), draw(text, { batch: 4, firstIndex: 3 })];
  for (const [name, { values }] of Object.entries(whole) as [string, ImageRows][]) {
    assertEquals(parts.flatMap((part) => [...part[name]!.values]), [...values], name);
    for (const other of [{ seed: 6 }, { step: 10 }]) {
      assertNotEquals(draw(text, other)[name]!.values, values);
    }
  }
});
