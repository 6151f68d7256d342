import { assertAlmostEquals, assertEquals } from "@std/assert";
import { carriedTable, gradientBytes, networkTime, scalingTable } from "../../bench/scaling.ts";
import { preset } from "../../lib/config/run.ts";

/** The rows of a table, whatever its columns' widths. */
function rowsOf(table: string): string[] {
  return table.trim().split("\n").filter((line) => !/^\|[ :|-]+\|$/.test(line))
    .map((line) => line.split("|").map((cell) => cell.trim()).join("|"));
}

Deno.test("the documentation has what the network must carry for each preset", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/distributed.md", import.meta.url));
  const known = new Set(rowsOf(page));
  assertEquals(rowsOf(carriedTable()).filter((row) => !known.has(row)), []);
});

Deno.test("what is frozen is not carried", () => {
  const config = preset("finetune");
  assertEquals(gradientBytes({ ...config, freeze: "none" }), 4 * 5_543_716);
  // The classifier alone: 192 features of 100 classes, and their biases.
  assertEquals(gradientBytes({ ...config, freeze: "backbone" }), 4 * (192 + 1) * 100);
});

Deno.test("a prediction has the step, the network and the sum", () => {
  assertAlmostEquals(networkTime(1e6, 2, 1), 8);
  assertAlmostEquals(networkTime(1e6, 4, 10), 1.2);
  const table = scalingTable({ bytes: 1e6, steps: new Map([[1, 100], [2, 50]]), sum: 2 });
  // 100 / (50 + 8 + 2), 100 / (50 + 0.8 + 2), 100 / (50 + 0.08 + 2)
  assertEquals(rowsOf(table).at(-1), "|2|1.7|1.9|1.9|");
});
