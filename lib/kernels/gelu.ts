/**
 * The exact GELU, x * Phi(x) with Phi the distribution function of the standard normal, and its
 * derivative Phi(x) + x * phi(x), fast enough for the inner loops of both kinds of backend.
 *
 * Host: Phi and phi stand in tables 1/64 apart, and a Taylor step from the nearest entry does the
 * rest: no exponential and no division, errors below 1e-9 (Phi) and 1e-7 (phi), most far less.
 * WGSL: the tail Phi(-|x|) is exp(-x^2/2) times a polynomial in 1/(1 + p|x|), fitted to an
 * error of 1e-8; float32 rounding makes that 2e-7.
 */

/** Entries per unit, and the range of the tables; beyond it Phi is 0 or 1 within 1e-15. */
const STEPS = 64;
const LIMIT = 8;
const INVERSE_SQRT_2PI = 0.3989422804014327;

const cdfTable = new Float64Array(2 * LIMIT * STEPS + 1);
const pdfTable = new Float64Array(2 * LIMIT * STEPS + 1);
for (let i = 0; i < cdfTable.length; i++) {
  const x = i / STEPS - LIMIT;
  pdfTable[i] = INVERSE_SQRT_2PI * Math.exp(-x * x / 2);
  cdfTable[i] = cdfBySeries(x);
}

/** Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/(3*5) + ...), summed until it stands still. */
function cdfBySeries(x: number): number {
  let term = x;
  let sum = x;
  for (let k = 3; Math.abs(term) > 1e-17 * Math.abs(sum); k += 2) {
    term *= x * x / k;
    sum += term;
  }
  return 0.5 + INVERSE_SQRT_2PI * Math.exp(-x * x / 2) * sum;
}

/** Phi(x), the distribution function of the standard normal; absolute error below 1e-9. */
export function normalCdf(x: number): number {
  if (x > -LIMIT && x < LIMIT) {
    const i = ((x + LIMIT) * STEPS + 0.5) | 0;
    const node = i / STEPS - LIMIT;
    const d = x - node;
    return cdfTable[i]! +
      pdfTable[i]! * d * (1 + d * (node * -0.5 + d * ((node * node - 1) * (1 / 6))));
  }
  return x >= LIMIT ? 1 : x <= -LIMIT ? 0 : NaN;
}

/** phi(x), the density of the standard normal; absolute error below 1e-7. */
export function normalPdf(x: number): number {
  if (x > -LIMIT && x < LIMIT) {
    const i = ((x + LIMIT) * STEPS + 0.5) | 0;
    const node = i / STEPS - LIMIT;
    const d = x - node;
    const square = node * node;
    return pdfTable[i]! *
      (1 + d * (-node + d * ((square - 1) * 0.5 + d * (node * (3 - square) * (1 / 6)))));
  }
  return x === x ? 0 : NaN;
}

/** The factors in GELU by tanh. */
export const SQRT_2_OVER_PI = 0.7978845608028654;
export const CUBIC = 0.044715;

/** What GELU by tanh has in the place of Phi(x): (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2. */
export function tanhCdf(x: number): number {
  return 1 / (1 + Math.exp(-2 * SQRT_2_OVER_PI * (x + CUBIC * x * x * x)));
}

/** The derivative of {@linkcode tanhCdf} at x, where its value is `cdf`. */
export function tanhPdf(x: number, cdf: number): number {
  return 2 * cdf * (1 - cdf) * SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x);
}

/** WGSL of {@linkcode tanhCdf} and {@linkcode tanhPdf} under the names of {@linkcode geluWgsl}. */
export const geluTanhWgsl = /* wgsl */ `
struct NormalParts { cdf: Value, pdf: Value }
fn normal_parts(given: Value) -> NormalParts {
  // Beyond, the power leaves the range of float32, and cdf is 0 or 1 long before.
  let x = clamp(given, Value(-10.0), Value(10.0));
  let square = x * x;
  let cdf = Value(1.0) / (exp(x * (square * ${CUBIC} + 1.0) * ${-2 * SQRT_2_OVER_PI}) + 1.0);
  return NormalParts(cdf, cdf * (1.0 - cdf) * (square * ${3 * CUBIC} + 1.0) * ${
  2 * SQRT_2_OVER_PI
});
}
`;

/**
 * WGSL: `normal_parts(x)` gives Phi(x) as `cdf` and phi(x) as `pdf`; the module must have an alias
 * `Value` for f32 or vec4<f32>.
 */
export const geluWgsl = /* wgsl */ `
struct NormalParts { cdf: Value, pdf: Value }
fn normal_parts(x: Value) -> NormalParts {
  let bell = exp(x * x * -0.5);
  let t = Value(1.0) / (abs(x) * 0.28 + 1.0);
  var poly = t * -0.10580828 + 0.38987418;
  poly = poly * t - 0.23699378;
  poly = poly * t + 0.26891044;
  poly = poly * t + 0.06749663;
  poly = poly * t + 0.1165208;
  let tail = poly * t * bell;
  return NormalParts(select(1.0 - tail, tail, x < Value()), bell * ${INVERSE_SQRT_2PI});
}
`;
