/** AdamW on one variable, a block of its elements a task. */
import { loadUpTo, storeUpTo } from "./vectors";

@unmanaged
export class AdamW {
  x: i32;
  grad: i32;
  m: i32;
  v: i32;
  size: i32;
  beta1: f32;
  /** 1 - beta1, which of a rounded beta1 would be wrong in the fifth digit. */
  rest1: f32;
  beta2: f32;
  rest2: f32;
  epsilon: f32;
  stepSize: f32;
  /** Of the value; 1 where it does not decay. */
  decay: f32;
  /** Of the gradient. */
  scale: f32;
}

export function adamwTask(task: i32, scratch: usize, a: AdamW, each: i32): void {
  const end = min(a.size, (task + 1) * each);
  const beta1 = f32x4.splat(a.beta1), rest1 = f32x4.splat(a.rest1);
  const beta2 = f32x4.splat(a.beta2), rest2 = f32x4.splat(a.rest2);
  const epsilon = f32x4.splat(a.epsilon), stepSize = f32x4.splat(a.stepSize);
  const decay = f32x4.splat(a.decay), scale = f32x4.splat(a.scale);
  for (let i = task * each; i < end; i += 4) {
    const at = <usize>i * 4, lanes = end - i;
    const g = f32x4.mul(loadUpTo(<usize>a.grad + at, lanes), scale);
    const m = f32x4.add(f32x4.mul(loadUpTo(<usize>a.m + at, lanes), beta1), f32x4.mul(g, rest1));
    const v = f32x4.add(
      f32x4.mul(loadUpTo(<usize>a.v + at, lanes), beta2),
      f32x4.mul(f32x4.mul(g, g), rest2),
    );
    storeUpTo(<usize>a.m + at, m, lanes);
    storeUpTo(<usize>a.v + at, v, lanes);
    const step = f32x4.div(f32x4.mul(m, stepSize), f32x4.add(f32x4.sqrt(v), epsilon));
    const x = f32x4.sub(f32x4.mul(loadUpTo(<usize>a.x + at, lanes), decay), step);
    storeUpTo(<usize>a.x + at, x, lanes);
  }
}
