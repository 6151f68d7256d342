/** Softmax cross-entropy on the processor. */
import { hostAllocate, hostFloats, hostInts } from "../../backend/host.ts";
import type { TensorInfo } from "../../tfjs.ts";

/** Inputs of the kernel by name; those of mixed labels come both or not at all. */
export interface Inputs {
  logits: TensorInfo;
  labels: TensorInfo;
  second?: TensorInfo;
  share?: TensorInfo;
}
/** Numbers of both. */
export interface Attributes {
  smoothing: number;
}
/** Inputs of its gradient. */
export interface GradientInputs extends Inputs {
  /** float32 []: the gradient of the mean loss. */
  dy: TensorInfo;
}

/** What a row is asked for, as the host's loops take it. */
interface Wanted {
  label: number;
  other: number;
  share: number;
}

/** A reader of what each row is asked for; the second label is the first where there is none. */
function wantedOf({ labels, second, share }: Inputs): (row: number) => Wanted {
  const firsts = hostInts(labels);
  const seconds = second ? hostInts(second) : firsts;
  const shares = share && hostFloats(share);
  return (row) => ({
    label: firsts[row]!,
    other: seconds[row]!,
    share: shares ? shares[row]! : 1,
  });
}

/** The mean loss, and each row's loss and hits. */
export function hostForward(inputs: Inputs, { smoothing }: Attributes): TensorInfo[] {
  const { logits } = inputs;
  const [batch, classes] = logits.shape as [number, number];
  const loss = hostAllocate([]);
  const stats = hostAllocate([batch, 3]);
  const x = hostFloats(logits);
  const wanted = wantedOf(inputs);
  const columns = hostFloats(stats);
  let total = 0;
  for (let i = 0; i < batch; i++) {
    const base = i * classes;
    const { label, other, share } = wanted(i);
    const { greatest, sum } = hostRow(x, base, classes, label, other);
    const own = x[base + label]!;
    let rank = 0;
    for (let k = 0; k < classes; k++) {
      const value = x[base + k]!;
      if (value > own || (value === own && k < label)) rank++;
    }
    let taken = own - greatest;
    if (share !== 1) taken = (share && share * taken) + (1 - share) * (x[base + other]! - greatest);
    if (smoothing > 0) {
      let all = 0;
      for (let k = 0; k < classes; k++) all += x[base + k]! - greatest;
      taken = (1 - smoothing) * taken + smoothing * all / classes;
    }
    const value = Math.fround(Math.log(sum) - taken);
    columns[i * 3] = value;
    columns[i * 3 + 1] = sum > 0 && rank === 0 ? 1 : 0;
    columns[i * 3 + 2] = sum > 0 && rank < 5 ? 1 : 0;
    total += value;
  }
  hostFloats(loss)[0] = total / batch;
  return [loss, stats];
}

/** The gradient with respect to the logits. */
export function hostBackward(inputs: GradientInputs, { smoothing }: Attributes): TensorInfo {
  const { logits, dy } = inputs;
  const [batch, classes] = logits.shape as [number, number];
  const gradient = hostAllocate(logits.shape);
  const x = hostFloats(logits);
  const wanted = wantedOf(inputs);
  const to = hostFloats(gradient);
  const factor = hostFloats(dy)[0]! / batch;
  for (let i = 0; i < batch; i++) {
    const base = i * classes;
    const { label, other, share } = wanted(i);
    const { greatest, sum } = hostRow(x, base, classes, label, other);
    for (let k = 0; k < classes; k++) {
      const mixed = (k === label ? share : 0) + (k === other ? 1 - share : 0);
      const target = smoothing > 0 ? (1 - smoothing) * mixed + smoothing / classes : mixed;
      to[base + k] = factor * (Math.exp(x[base + k]! - greatest) / sum - target);
    }
  }
  return gradient;
}

/** The sum is NaN when the row's loss is not defined. */
function hostRow(x: Float32Array, base: number, classes: number, label: number, other: number) {
  const isClass = (value: number) => value >= 0 && value < classes;
  let greatest = -Infinity;
  for (let k = base; k < base + classes; k++) greatest = Math.max(greatest, x[k]!);
  let sum = isClass(label) && isClass(other) ? 0 : NaN;
  for (let k = base; k < base + classes; k++) sum += Math.exp(x[k]! - greatest);
  return { greatest, sum };
}
