/** AdamW on the wasm backend with all processors; see lib/simd. */
import { hostFloats, hostFloatsInPlace } from "../../backend/host.ts";
import type { Pool } from "../../simd/pool.ts";
import { descriptionOf, whole } from "../../simd/product.ts";
import { sizeOf } from "./tensor_groups.ts";
import type { AdamWAttributes, AdamWInputs } from "./adamw.ts";

/** Elements of a task. */
const PIECE = 2 ** 15;

/** One step of AdamW on every variable, in place. */
export function simdAdamW(
  pool: Pool,
  { scalars, squaredNorm }: AdamWInputs,
  { groups, options, clipNorm, skipNonFinite }: AdamWAttributes,
): void {
  const { beta1, beta2, epsilon } = options;
  if (skipNonFinite && squaredNorm && !Number.isFinite(hostFloats(squaredNorm)[0])) return;
  const [stepSize, decayFactor] = hostFloats(scalars) as unknown as [number, number];
  const norm = squaredNorm ? Math.sqrt(hostFloats(squaredNorm)[0]!) : 0;
  const scale = squaredNorm && norm > clipNorm ? clipNorm / norm : 1;
  for (const { m, v, members } of groups) {
    for (const tensor of [m, v, ...members.map(({ value }) => value)]) hostFloatsInPlace(tensor);
    for (const { value, grad, offset, decay, rate = 1, decayRate = 1 } of members) {
      const size = sizeOf(value);
      const factor = decay ? 1 - (1 - decayFactor) * decayRate : 1;
      const moments = [m, v].map((tensor) => pool.addressOf(tensor) + 4 * offset);
      pool.run("adamwTask", { tasks: Math.ceil(size / PIECE), cost: 4 * size }, [
        descriptionOf([
          ...whole(pool.addressOf(value), pool.addressOf(grad), ...moments, size),
          ...[beta1, 1 - beta1, beta2, 1 - beta2, epsilon, stepSize * rate, factor, scale]
            .map((x): ["f", number] => ["f", x]),
        ]),
        PIECE,
      ]);
    }
  }
}
