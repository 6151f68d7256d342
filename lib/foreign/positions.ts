/**
 * Position embeddings on another grid. Each library interpolates by a rule of its own, and they differ
 * by up to 2.7 on unit normal values, so the rule belongs to the weights.
 */

/**
 * How a grid of positions is brought to another one, all three bicubic: `antialiased`, half-pixel
 * centres with a kernel that widens where the grid shrinks (timm); `halfPixel`, without that
 * (Hugging Face); `cornersAligned`, the corners on the corners (torchvision).
 */
export type PositionRule = "antialiased" | "halfPixel" | "cornersAligned";

/** Keys's cubic of PyTorch's plain interpolation, and of its antialiased one, which is Pillow's. */
const sharpness = { plain: -0.75, antialiased: -0.5 };

/** Keys's cubic convolution kernel (1981). */
function cubic(x: number, a: number): number {
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

/** For each place of the new axis the weight of each old one, `[to][from]`. */
function weightsOf(rule: PositionRule, from: number, to: number): Float64Array[] {
  return Array.from({ length: to }, (_, i) => {
    const weights = new Float64Array(from);
    if (rule === "antialiased") {
      const scale = from / to;
      const wide = Math.max(1, scale);
      const centre = scale * (i + 0.5);
      const first = Math.max(0, Math.trunc(centre - 2 * wide + 0.5));
      const end = Math.min(from, Math.trunc(centre + 2 * wide + 0.5));
      for (let k = first; k < end; k++) {
        weights[k] = cubic((k - centre + 0.5) / wide, sharpness.antialiased);
      }
      const sum = weights.reduce((total, weight) => total + weight, 0);
      return weights.map((weight) => weight / sum);
    }
    const at = rule === "halfPixel"
      ? (i + 0.5) * from / to - 0.5
      : to === 1
      ? 0
      : i * (from - 1) / (to - 1);
    const low = Math.floor(at);
    for (let k = low - 1; k <= low + 2; k++) {
      // Beyond the edge the last place is repeated.
      const place = Math.min(from - 1, Math.max(0, k));
      weights[place]! += cubic(k - at, sharpness.plain);
    }
    return weights;
  });
}

/**
 * Positions `[prefix + from * from, dim]` for a grid of `to` by `to` places. Those of the learned
 * tokens before the grid stay as they are.
 */
export function resizePositions(
  positions: Float32Array,
  { prefix, from, to, dim }: { prefix: number; from: number; to: number; dim: number },
  rule: PositionRule,
): Float32Array<ArrayBuffer> {
  const resized = new Float32Array((prefix + to * to) * dim);
  resized.set(positions.subarray(0, prefix * dim));
  const weights = weightsOf(rule, from, to);
  const grid = positions.subarray(prefix * dim);
  // Rows of the old grid at the new columns: from x to x dim.
  const narrow = new Float64Array(from * to * dim);
  const add = (
    [into, at]: [Float64Array, number],
    [source, start]: [ArrayLike<number>, number],
    weight: number,
  ) => {
    for (let d = 0; d < dim; d++) into[at + d]! += weight * source[start + d]!;
  };
  for (let y = 0; y < from; y++) {
    for (let x = 0; x < to; x++) {
      for (let k = 0; k < from; k++) {
        const weight = weights[x]![k]!;
        if (weight !== 0) add([narrow, (y * to + x) * dim], [grid, (y * from + k) * dim], weight);
      }
    }
  }
  const sums = new Float64Array(dim);
  for (let y = 0; y < to; y++) {
    for (let x = 0; x < to; x++) {
      sums.fill(0);
      for (let k = 0; k < from; k++) {
        const weight = weights[y]![k]!;
        if (weight !== 0) add([sums, 0], [narrow, (k * to + x) * dim], weight);
      }
      resized.set(sums, (prefix + y * to + x) * dim);
    }
  }
  return resized;
}
