/** Comparing the gradients of a step made in two ways. */
import { assertAlmostEquals, assertEquals } from "@std/assert";

/**
 * Asserts that numbers by name are the same within rounding: 1e-5 of each tensor's largest. A key's
 * bias has a gradient of 0 but for rounding, so no scale is below 1e-3.
 */
export function assertSameGradients(
  found: ReadonlyMap<string, Float32Array>,
  expected: ReadonlyMap<string, Float32Array>,
  message: string,
): void {
  for (const [name, values] of found) {
    const wanted = expected.get(name)!;
    assertEquals(values.length, wanted.length);
    const scale = Math.max(1e-3, wanted.reduce((most, x) => Math.max(most, Math.abs(x)), 0));
    values.forEach((x, i) =>
      assertAlmostEquals(x, wanted[i]!, 1e-5 * scale, `${name} ${i}, ${message}`)
    );
  }
}
