/** The ways of making one vector of tokens; the table's keys are the words of the field `pooling`. */
import { flatten } from "./poolings/flatten.ts";
import { mean } from "./poolings/mean.ts";
import type { Pooling } from "./poolings/pooling.ts";
import { sequence } from "./poolings/sequence.ts";
import { token } from "./poolings/token.ts";

/** The poolings by name. */
export const poolings = { flatten, mean, token, sequence } satisfies Record<string, Pooling>;

/** A pooling's name. */
export type PoolingName = keyof typeof poolings;
