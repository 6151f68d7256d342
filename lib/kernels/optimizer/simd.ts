/** AdamW on the wasm backend with all processors; see lib/simd. */
import type { Pool } from "../../simd/pool.ts";
import { descriptionOf, whole } from "../../simd/product.ts";
import { sizeOf } from "./tensor_groups.ts";
import { type AdamWAttributes, type AdamWInputs, updatesOf } from "./updates.ts";

/** Elements of a task. */
const PIECE = 2 ** 15;

/** One step of AdamW on every variable, in place. */
export function simdAdamW(pool: Pool, inputs: AdamWInputs, attributes: AdamWAttributes): void {
  const { beta1, beta2, epsilon } = attributes.options;
  for (const { m, v, member, stepSize, decay, scale } of updatesOf(inputs, attributes)) {
    const { value, grad, offset } = member;
    const size = sizeOf(value);
    const moments = [m, v].map((tensor) => pool.addressOf(tensor) + 4 * offset);
    pool.run("adamwTask", { tasks: Math.ceil(size / PIECE), cost: 4 * size }, [
      descriptionOf([
        ...whole(pool.addressOf(value), pool.addressOf(grad), ...moments, size),
        ...[beta1, 1 - beta1, beta2, 1 - beta2, epsilon, stepSize, decay, scale]
          .map((x): ["f", number] => ["f", x]),
      ]),
      PIECE,
    ]);
  }
}
