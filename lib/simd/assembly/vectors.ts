/** Operations on four floats at a time that several kernels use. */

/** The fourth of four floats becomes the first times the second plus the third. */
export function multiplyAdd(task: i32, scratch: usize, at: usize): void {
  const x = f32x4.splat(load<f32>(at)), y = f32x4.splat(load<f32>(at, 4));
  const sum = f32x4.relaxed_madd(x, y, f32x4.splat(load<f32>(at, 8)));
  store<f32>(at, f32x4.extract_lane(sum, 0), 12);
}

@inline export function horizontalSum(x: v128): f32 {
  return (f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 2)) +
    (f32x4.extract_lane(x, 1) + f32x4.extract_lane(x, 3));
}

/** The first lanes of what lies at `from`, zeros in the others. */
@inline export function loadSome(from: usize, lanes: i32): v128 {
  let x = v128.load32_zero(from);
  if (lanes > 1) x = f32x4.replace_lane(x, 1, load<f32>(from, 4));
  if (lanes > 2) x = f32x4.replace_lane(x, 2, load<f32>(from, 8));
  return x;
}

/** Writes the first lanes only. */
@inline export function storeSome(to: usize, x: v128, lanes: i32): void {
  store<f32>(to, f32x4.extract_lane(x, 0));
  if (lanes > 1) store<f32>(to, f32x4.extract_lane(x, 1), 4);
  if (lanes > 2) store<f32>(to, f32x4.extract_lane(x, 2), 8);
}

/** Up to four floats; all four where `lanes` is at least that. */
@inline export function loadUpTo(from: usize, lanes: i32): v128 {
  return lanes >= 4 ? v128.load(from) : loadSome(from, lanes);
}

@inline export function storeUpTo(to: usize, x: v128, lanes: i32): void {
  if (lanes >= 4) v128.store(to, x);
  else storeSome(to, x, lanes);
}

/**
 * `x` in all four lanes, for a register. V8 would build a literal anew at each use, several
 * instructions each, so constants of a loop are made before it, from a zero that it cannot know.
 */
@inline export function constant(x: f32, zero: f32): v128 {
  return f32x4.splat(x + zero);
}

/** Bytes of the constants of `exp2` and `randomBits`. */
export const CONSTANTS: usize = 192;

/** Writes the constants of `exp2` and `randomBits`; a load costs less than V8's building of one. */
export function writeConstants(to: usize): void {
  v128.store(to, f32x4.splat(-126));
  v128.store(to, f32x4.splat(1.535336188319500e-4), 16);
  v128.store(to, f32x4.splat(1.339887440266574e-3), 32);
  v128.store(to, f32x4.splat(9.618437357674640e-3), 48);
  v128.store(to, f32x4.splat(5.550332471162809e-2), 64);
  v128.store(to, f32x4.splat(2.402264791363012e-1), 80);
  v128.store(to, f32x4.splat(6.931472028550421e-1), 96);
  v128.store(to, f32x4.splat(1), 112);
  v128.store(to, i32x4.splat(127), 128);
  v128.store(to, i32x4.splat(0x21f0aaad), 144);
  v128.store(to, i32x4.splat(0xd35a2d97), 160);
}

/**
 * 2^x for x <= 0, relative error below 2e-7; 0 below -126, where float32 loses its precision. NaN
 * stays. The polynomial is that of Cephes' exp2f for |x| <= 1/2.
 */
@inline export function exp2(x: v128, constants: usize): v128 {
  const least = v128.load(constants);
  const clamped = f32x4.max(x, least);
  const nearest = f32x4.nearest(clamped);
  const r = f32x4.sub(clamped, nearest);
  let power = f32x4.relaxed_madd(v128.load(constants, 16), r, v128.load(constants, 32));
  power = f32x4.relaxed_madd(power, r, v128.load(constants, 48));
  power = f32x4.relaxed_madd(power, r, v128.load(constants, 64));
  power = f32x4.relaxed_madd(power, r, v128.load(constants, 80));
  power = f32x4.relaxed_madd(power, r, v128.load(constants, 96));
  power = f32x4.relaxed_madd(power, r, v128.load(constants, 112));
  const exponent = i32x4.add(i32x4.trunc_sat_f32x4_s(nearest), v128.load(constants, 128));
  return v128.andnot(f32x4.mul(power, i32x4.shl(exponent, 23)), f32x4.lt(x, least));
}

/** 32 random bits at four indices of a stream; see lib/random.ts. */
@inline export function randomBits(
  index: v128, word0: v128, word1: v128, constants: usize,
): v128 {
  let x = v128.xor(index, word0);
  x = v128.xor(x, i32x4.shr_u(x, 16));
  x = i32x4.mul(x, v128.load(constants, 144));
  x = v128.xor(x, i32x4.shr_u(x, 15));
  x = i32x4.mul(i32x4.add(x, word1), v128.load(constants, 160));
  return v128.xor(x, i32x4.shr_u(x, 15));
}

/** The indices `first` to `first + 3`. */
@inline export function indicesFrom(first: i32): v128 {
  return i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3));
}
