import { assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { readSafetensorsFile } from "../../lib/checkpoint/safetensors.ts";
import { UserError } from "../../lib/errors.ts";
import { WeightAverage } from "../../lib/optim/weight_average.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";
import { valuesOf } from "../models/tiny_model.ts";

/** A start and six updates of nine weights, and their average. */
async function reference(): Promise<{ rows: Float32Array[]; after: Float32Array }> {
  const path = new URL("../golden/recipe/recipe.safetensors", import.meta.url).pathname;
  const { tensors } = await readSafetensorsFile(path);
  const data = tensors.get("ema.weights")!.data as Float32Array;
  return {
    rows: Array.from({ length: 7 }, (_, row) => data.slice(9 * row, 9 * row + 9)),
    after: tensors.get("ema.after")!.data as Float32Array,
  };
}

const variableOf = (values: Float32Array) =>
  tf.tidy(() => tf.variable(tf.tensor1d(values.slice())));

function updates(average: WeightAverage, variable: tf.Variable, rows: Float32Array[], from = 0) {
  for (const [k, row] of rows.entries()) {
    tf.tidy(() => {
      variable.assign(tf.tensor1d(row.slice()));
      average.update(tf.tensor1d(average.shares(from + k)));
    });
  }
}

forEachBackend(
  "the average of six updates is the reference's, with the decay's warm-up",
  async () => {
    const { rows, after } = await reference();
    const variable = variableOf(rows[0]!);
    const average = new WeightAverage([variable], 0.99);
    updates(average, variable, rows.slice(1));
    const found = (await average.read()).get(variable.name)!;
    found.forEach((value, i) => assertAlmostEquals(value, after[i]!, 1e-6));
    // Taken up again in the middle, it is the same to the bit.
    const again = variableOf(rows[0]!);
    const first = new WeightAverage([again], 0.99);
    updates(first, again, rows.slice(1, 4));
    const kept = new Map([[again.name, (await first.read()).get(again.name)!.slice()]]);
    const second = new WeightAverage([again], 0.99, kept);
    updates(second, again, rows.slice(4), 3);
    assertEquals((await second.read()).get(again.name), found);
    for (const part of [average, first, second, variable, again]) part.dispose();
  },
);

forEachBackend("the decay rises from a tenth and stays at its own", () => {
  const average = new WeightAverage([], 0.9);
  assertEquals(average.shares(0), Float32Array.of(0.1, 0.9));
  assertEquals(average.shares(80), Float32Array.of(0.9, 1 - 0.9));
  assertEquals(average.shares(1e6), average.shares(80));
  assertThrows(() => new WeightAverage([], 1), UserError, "ema cannot be 1");
}, { backends: ["cpu"] });

forEachBackend(
  "during a use the variables hold the average, and their own after it or its error",
  async () => {
    const [one, other] = [Float32Array.of(1, -0, 3), Float32Array.of(5, 7, -9)];
    const variable = variableOf(one);
    const average = new WeightAverage([variable], 0.99, new Map([[variable.name, other]]));
    const { dataId } = variable;
    const bits = async () => new Uint32Array((await valuesOf(variable)).buffer);
    assertEquals(await average.during(() => valuesOf(variable)), other);
    await assertRejects(
      () => average.during(() => Promise.reject(new Error("lost"))),
      Error,
      "lost",
    );
    assertEquals(await bits(), new Uint32Array(one.buffer));
    assertEquals((await average.read()).get(variable.name), other);
    // What is captured of the variables stays right.
    assertEquals(variable.dataId, dataId);
    tf.dispose(variable);
    average.dispose();
  },
);
