/** Whether this machine can compute with a run's precision. */
import { currentGpu } from "../backend/device.ts";
import { type Precision, precisions } from "../backend/precision.ts";
import { UserError } from "../errors.ts";
import { tf } from "../tfjs.ts";

/** The way back from a precision that cannot be had. */
const wayBack = "or leave --precision at f32";

/** Why the current backend cannot compute with a precision; undefined when it can. */
function problemOf(precision: Precision): string | undefined {
  if (precision === "f32") return undefined;
  const backend = tf.getBackend();
  if (backend !== "webgpu") {
    return `is for the webgpu backend alone, and this is ${backend}; take --backend webgpu, ` +
      `${wayBack}`;
  }
  const gpu = currentGpu();
  if (gpu?.features.has("shader-f16")) return undefined;
  return `needs a GPU with shader-f16, which ${gpu?.description ?? "this device"} lacks; take ` +
    `another GPU, ${wayBack}`;
}

/**
 * Asserts that the current backend can train with a precision.
 * @throws {UserError} naming what it lacks and the way out
 */
export function checkPrecision(precision: Precision): void {
  const problem = problemOf(precision);
  if (problem) throw new UserError(`--precision ${precision} ${problem}.`);
}

/**
 * The precision of that name.
 * @throws {UserError} when there is none, or the current backend cannot compute with it
 */
export function precisionOf(name: string): Precision {
  const precision = precisions.find((known) => known === name);
  if (!precision) {
    throw new UserError(`Unknown --precision "${name}"; take ${precisions.join(" or ")}.`);
  }
  checkPrecision(precision);
  return precision;
}

/** A run's precision where the current backend can predict with it, else f32. */
export function precisionHere(precision: Precision): Precision {
  return problemOf(precision) ? "f32" : precision;
}
