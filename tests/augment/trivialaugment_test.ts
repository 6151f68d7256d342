import { assertEquals } from "@std/assert";
import { drawnOperations } from "../../lib/augment/magnitudes.ts";
import { trivialaugment } from "../../lib/augment/trivialaugment.ts";

const made = (name: string, magnitude: number, sign: number) => {
  const draws = [
    (drawnOperations.findIndex((each) => each === name) + 0.5) / 14,
    magnitude,
    sign,
  ];
  return trivialaugment.operations((n) => draws[n]!, [], 32);
};

Deno.test("one operation of one of 31 magnitudes, at most torchvision's wide ones", () => {
  assertEquals(trivialaugment.rounds([]), 1);
  const strongest = {
    ...{ rotate: -135, shear_x: -0.99, translate_y: -32, solarize: 0, posterize: 2 },
    ...{ color: 1 - 0.99, sharpness: 1 - 0.99 },
  };
  for (const [name, magnitude] of Object.entries(strongest)) {
    assertEquals<unknown>(made(name, 0.999, 0), [{ name, magnitude }]);
  }
  assertEquals(made("rotate", 15.5 / 31, 0.5), [{ name: "rotate", magnitude: 67.5 }]);
  assertEquals(made("rotate", 0.5 / 31, 0.5), [{ name: "rotate", magnitude: 0 }]);
  assertEquals(made("identity", 0.5, 0.5), [{ name: "identity" }]);
});
