import { assert, assertEquals } from "@std/assert";
import { drawnOperations, operationAt } from "../../lib/augment/magnitudes.ts";
import { randaugment } from "../../lib/augment/randaugment.ts";

const size = 331;
/** The operations of given numbers. */
const made = (draws: number[], operations: number, magnitude: number) =>
  randaugment.operations((n) => draws[n]!, [operations, magnitude], size);
/** A number that draws the operation. */
const drawing = (name: string) => (drawnOperations.findIndex((each) => each === name) + 0.5) / 14;

Deno.test("so many operations are drawn, each with a sign of its own, all of one magnitude", () => {
  const draws = [drawing("rotate"), 0.2, drawing("rotate"), 0.7, drawing("equalize"), 0];
  assertEquals(randaugment.rounds([3, 10]), 3);
  assertEquals(made(draws, 3, 10), [
    { name: "rotate", magnitude: -10 },
    { name: "rotate", magnitude: 10 },
    { name: "equalize" },
  ]);
});

Deno.test("at magnitude 30 each operation is torchvision's strongest, of shifts for the image's size", () => {
  const strongest = drawnOperations.map((name) => made([drawing(name), 0.9], 1, 30)[0]!);
  assertEquals(Object.fromEntries(strongest.map(({ name, magnitude }) => [name, magnitude])), {
    ...{ identity: undefined, autocontrast: undefined, equalize: undefined },
    ...{ rotate: 30, solarize: 0, posterize: 4 },
    ...{ color: 1.9, contrast: 1.9, brightness: 1.9, sharpness: 1.9 },
    ...{ shear_x: 0.3, shear_y: 0.3, translate_x: 150, translate_y: 150 },
  });
});

Deno.test("at magnitude 0 no operation with a magnitude changes an image", () => {
  const plain = { rotate: 0, solarize: 255, posterize: 8, color: 1, shear_x: 0, translate_y: 0 };
  for (const [name, magnitude] of Object.entries(plain)) {
    const [operation] = made([drawing(name), 0.9], 1, 0);
    assertEquals<unknown>(operation, { name, magnitude });
  }
});

Deno.test("of 31 magnitudes posterize keeps the bits of torchvision, and shifts are whole pixels", () => {
  const widest = { shear: 0, translate: 14.5, rotate: 0, blend: 0, posterize: 4 };
  const at = (name: "posterize" | "translate_x", magnitude: number, sign: 1 | -1 = 1) =>
    operationAt(name, magnitude, sign, widest).magnitude;
  assertEquals([3, 4, 11, 12, 18, 19, 26, 27].map((m) => at("posterize", m)), [
    ...[8, 7, 7, 6, 6, 5, 5, 4],
  ]);
  assertEquals([29, 30].map((m) => [at("translate_x", m), at("translate_x", m, -1)]), [
    [14, -14],
    [14, -14],
  ]);
});

Deno.test("every operation is drawn, and none beyond the last", () => {
  const drawn = Array.from({ length: 1000 }, (_, i) => made([i / 1000, 0.5], 1, 9)[0]!.name);
  assertEquals(new Set(drawn), new Set(drawnOperations));
  assert(!(drawnOperations as string[]).includes("invert"));
});
