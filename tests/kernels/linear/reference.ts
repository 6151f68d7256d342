/** Dense layers and their gradients in float64 loops, for the tests of what computes them. */
import { assert, assertEquals } from "@std/assert";
import { dropThreshold, keepScale, randomBits, streamKey } from "../../../lib/random.ts";

/** A dense layer to be tested. */
export interface Case {
  /** x's shape; its last dimension is the kernel's first. */
  shape: number[];
  columns: number;
  bias?: boolean;
  /** The exact one, or that by tanh. */
  gelu?: boolean | "tanh";
  rate?: number;
  residual?: "full" | "repeated";
}

/** erf by its Maclaurin series, or 1 beyond its reach. */
export function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 120 && Math.abs(term) > 1e-18; n++) {
    term *= -x * x / n;
    sum += term / (2 * n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * sum;
}

/** What the reference's dropout masks are drawn with. */
export const [SEED, STEP, STREAM] = [11, 5, 77];

/** The values of a case, row by row. */
export interface Numbers {
  x: Float32Array;
  kernel: Float32Array;
  bias?: Float32Array;
  residual?: Float32Array;
  dy: Float32Array;
}

/** Inputs of a case, and the gradient of its output; other numbers for each `stream`. */
export function numbersOf({ shape, columns, bias, residual }: Case, stream = 0): Numbers {
  const inner = shape.at(-1)!;
  const yShape = [...shape.slice(0, -1), columns];
  return {
    x: normals(shape, stream + 1),
    kernel: normals([inner, columns], stream + 2, 1 / Math.sqrt(inner)),
    bias: bias ? normals([columns], stream + 3, 0.5) : undefined,
    residual: residual && normals(residual === "full" ? yShape : yShape.slice(1), stream + 4),
    dy: normals(yShape, stream + 5),
  };
}

/** Values of a normal distribution, by Box and Muller from the project's own random bits. */
export function normals(shape: number[], stream: number, deviation = 1): Float32Array {
  const key = streamKey(1, stream, 0);
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => {
    const u = (randomBits(key, 2 * i) + 1) / 2 ** 32;
    const v = randomBits(key, 2 * i + 1) / 2 ** 32;
    return deviation * Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
  });
}

/** What GELU by tanh multiplies z by, and the derivative of that. */
function byTanh(z: number): [number, number] {
  const slope = Math.sqrt(2 / Math.PI);
  const t = Math.tanh(slope * (z + 0.044715 * z ** 3));
  return [(1 + t) / 2, (1 - t * t) / 2 * slope * (1 + 3 * 0.044715 * z * z)];
}

/** The operation and its gradients in float64 loops. */
export function reference(c: Case, n: Numbers): Record<string, Float64Array> {
  const [inner, columns] = [c.shape.at(-1)!, c.columns];
  const rows = n.x.length / inner;
  const y = new Float64Array(rows * columns);
  const [dx, dKernel] = [new Float64Array(n.x.length), new Float64Array(n.kernel.length)];
  const [dBias, dResidual] = [
    new Float64Array(columns),
    new Float64Array(n.residual?.length ?? 0),
  ];
  const key = streamKey(SEED, STREAM, STEP);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const i = row * columns + column;
      let z = n.bias?.[column] ?? 0;
      for (let k = 0; k < inner; k++) z += n.x[row * inner + k]! * n.kernel[k * columns + column]!;
      const [cdf, pdf] = c.gelu === "tanh" ? byTanh(z) : [
        (1 + erf(z / Math.SQRT2)) / 2,
        Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI),
      ];
      const dropped = c.rate !== undefined && randomBits(key, i) < dropThreshold(c.rate);
      const keep = dropped ? 0 : keepScale(c.rate ?? 0);
      y[i] = keep * (c.gelu ? z * cdf : z);
      const dz = n.dy[i]! * keep * (c.gelu ? cdf + z * pdf : 1);
      if (n.residual) {
        y[i]! += n.residual[i % n.residual.length]!;
        dResidual[i % n.residual.length]! += n.dy[i]!;
      }
      dBias[column]! += dz;
      for (let k = 0; k < inner; k++) {
        dx[row * inner + k]! += dz * n.kernel[k * columns + column]!;
        dKernel[k * columns + column]! += dz * n.x[row * inner + k]!;
      }
    }
  }
  return { y, x: dx, kernel: dKernel, bias: dBias, residual: dResidual };
}

/** The greatest difference, relative to the greatest magnitude. */
export function relativeError(got: Float32Array, want: Float64Array): number {
  assertEquals(got.length, want.length);
  let [difference, magnitude] = [0, 1e-30];
  for (let i = 0; i < want.length; i++) {
    // Math.max would hide a NaN in an early element behind a later number.
    assert(Number.isFinite(got[i]!), `element ${i} is ${got[i]}`);
    difference = Math.max(difference, Math.abs(got[i]! - want[i]!));
    magnitude = Math.max(magnitude, Math.abs(want[i]!));
  }
  return difference / magnitude;
}
