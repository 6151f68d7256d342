import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { erf, normalCdf, normalPdf } from "../../lib/kernels/gelu.ts";

/** erf by its Maclaurin series, good to 1e-12 for |x| up to 3. */
function erfBySeries(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 100; n++) {
    term *= -x * x / n;
    sum += term / (2 * n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * sum;
}

Deno.test("erf agrees with its series", () => {
  for (let x = -3; x <= 3; x += 0.0107) assertAlmostEquals(erf(x), erfBySeries(x), 2e-9);
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
