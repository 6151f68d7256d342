/** What AdamW is given, and what its host forms do with each variable. */
import { hostFloats, hostFloatsInPlace } from "../../backend/host.ts";
import type { TensorInfo } from "../../tfjs.ts";

/** Variables whose moments share their tensors. */
export interface AdamWGroup {
  /** Running means of the gradients, flat; updated in place. */
  m: TensorInfo;
  /** Running means of the squared gradients, flat; updated in place. */
  v: TensorInfo;
  members: AdamWMember[];
}

/** A variable and its gradient, both float32 of one shape. */
export interface AdamWMember {
  /** Updated in place. */
  value: TensorInfo;
  grad: TensorInfo;
  /** Start of its moments in m and in v, in elements. */
  offset: number;
  /** Whether the variable is multiplied by the decay factor. */
  decay: boolean;
  /** Factor of the step size; 1 by default. */
  rate?: number;
  /** Factor of what the decay takes away; 1 by default. */
  decayRate?: number;
}

/** Constants of AdamW, the same over a run. */
export interface AdamWOptions {
  beta1: number;
  beta2: number;
  epsilon: number;
}

/** What changes from step to step. */
export interface AdamWInputs {
  scalars: TensorInfo;
  squaredNorm?: TensorInfo;
}
/** What {@linkcode adamwUpdate} was given. */
export interface AdamWAttributes {
  groups: AdamWGroup[];
  options: AdamWOptions;
  clipNorm: number;
  skipNonFinite: boolean;
}

/** The update of one variable. */
export interface Update {
  m: TensorInfo;
  v: TensorInfo;
  member: AdamWMember;
  stepSize: number;
  /** Factor of the value; 1 where it does not decay. */
  decay: number;
  /** Factor of the gradient. */
  scale: number;
}

/** The updates of a step, none where it is left out; what they change is ready to be changed. */
export function updatesOf(
  { scalars, squaredNorm }: AdamWInputs,
  { groups, clipNorm, skipNonFinite }: AdamWAttributes,
): Update[] {
  if (skipNonFinite && squaredNorm && !Number.isFinite(hostFloats(squaredNorm)[0])) return [];
  const [stepSize, decayFactor] = hostFloats(scalars) as unknown as [number, number];
  const norm = squaredNorm ? Math.sqrt(hostFloats(squaredNorm)[0]!) : 0;
  const scale = squaredNorm && norm > clipNorm ? clipNorm / norm : 1;
  // All before the first view, in case that the wasm heap moves.
  for (const { m, v, members } of groups) {
    for (const tensor of [m, v, ...members.map(({ value }) => value)]) hostFloatsInPlace(tensor);
  }
  return groups.flatMap(({ m, v, members }) =>
    members.map((member): Update => {
      const { rate = 1, decayRate = 1 } = member;
      const factor = decayRate === 1 ? decayFactor : 1 - (1 - decayFactor) * decayRate;
      const decay = member.decay ? factor : 1;
      return { m, v, member, stepSize: stepSize * rate, decay, scale };
    })
  );
}
