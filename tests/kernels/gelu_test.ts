import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { normalCdf, normalPdf, tanhCdf, tanhPdf } from "../../lib/kernels/gelu.ts";
import { erf } from "./linear/reference.ts";

Deno.test("normalCdf agrees with the series of the error function", () => {
  for (let x = -4; x <= 4; x += 0.0107) {
    assertAlmostEquals(normalCdf(x), (1 + erf(x / Math.SQRT2)) / 2, 1e-9);
  }
});

Deno.test("normalPdf agrees with its formula, between the entries of its table too", () => {
  for (let x = -9; x <= 9; x += 0.00371) {
    assertAlmostEquals(normalPdf(x), Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI), 1e-7);
  }
});

Deno.test("normalCdf and normalPdf reach their limits and pass NaN on", () => {
  assertEquals([normalCdf(-40), normalCdf(40), normalPdf(-40), normalPdf(40)], [0, 1, 0, 0]);
  assertEquals([normalCdf(-Infinity), normalCdf(Infinity)], [0, 1]);
  assert(Number.isNaN(normalCdf(NaN)) && Number.isNaN(normalPdf(NaN)));
});

Deno.test("tanhCdf is the tanh of GELU's approximation, and tanhPdf its derivative", () => {
  const cdf = (x: number) => (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))) / 2;
  for (let x = -6; x <= 6; x += 0.0123) {
    assertAlmostEquals(tanhCdf(x), cdf(x), 1e-12);
    const difference = (cdf(x + 1e-5) - cdf(x - 1e-5)) / 2e-5;
    assertAlmostEquals(tanhPdf(x, tanhCdf(x)), difference, 1e-8);
  }
  assertEquals([tanhCdf(-100), tanhCdf(100), tanhPdf(100, 1)], [0, 1, 0]);
});
