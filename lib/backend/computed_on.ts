/** Computer of a run's numbers, as checkpoints keep it. */
import { z } from "../deps.ts";

/**
 * The form in which files have it.
 */
export const computedOnSchema = z.strictObject({
  /** By its name in tfjs. */
  backend: z.string(),
  /** The adapter's description, on webgpu; how kernels of `lib/simd` round, on wasm. */
  adapter: z.string().optional(),
  /** The kernels' forms by the names of shapes, where they were measured; see `kernels/forms.ts`. */
  forms: z.record(z.string(), z.string()).optional(),
});

/** @internal */
type Schema = typeof computedOnSchema;

/** Computer of a run's numbers; another would round them otherwise. */
export type ComputedOn = z.infer<Schema>;
