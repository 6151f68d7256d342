/** Pictures of weights, as in figure 7 of the ViT paper (Dosovitskiy et al., 2020). */
import { importMatrix } from "../deps.ts";
import type { Picture } from "./patches.ts";

/** Components that figure 7 shows. */
const mostComponents = 28;

/** Filters of an image: `[side, side, parts, channels, filters]`, row-major. */
export interface Filters {
  readonly data: Float32Array;
  readonly side: number;
  /** Of which the first sees the image itself. */
  readonly parts: number;
  readonly channels: number;
}

/**
 * The cosine of each place's embedding with each other's.
 * @param embedding `[places, dim]`
 * @returns `[places, places]`, -1 to 1; 0 where one of both is zero
 */
export function positionSimilarity(embedding: Float32Array, places: number): Float32Array {
  const dim = embedding.length / places;
  const rows = Array.from({ length: places }, (_, i) => {
    const row = embedding.subarray(i * dim, (i + 1) * dim);
    const length = Math.hypot(...row) || 1;
    return row.map((value) => value / length);
  });
  return Float32Array.from({ length: places * places }, (_, at) => {
    const [a, b] = [rows[Math.floor(at / places)]!, rows[at % places]!];
    return a.reduce((sum, value, k) => sum + value * b[k]!, 0);
  });
}

/**
 * The principal components of filters, the strongest first, at most 28: each as a picture whose
 * darkest and lightest value are 0 and 255. Of one or three channels; others have no colours.
 */
export async function filterPictures({ data, side, parts, channels }: Filters): Promise<Picture[]> {
  if (channels !== 1 && channels !== 3) return [];
  const elements = side * side * channels;
  const count = data.length / (elements * parts);
  // One row a filter, less their mean.
  const rows = Array.from(
    { length: count },
    (_, filter) =>
      Array.from({ length: elements }, (_, at) => {
        const [pixel, channel] = [Math.floor(at / channels), at % channels];
        return data[(pixel * parts * channels + channel) * count + filter]!;
      }),
  );
  for (let at = 0; at < elements; at++) {
    const mean = rows.reduce((sum, row) => sum + row[at]!, 0) / count;
    for (const row of rows) row[at]! -= mean;
  }
  const { Matrix, EigenvalueDecomposition } = await importMatrix();
  const centred = new Matrix(rows);
  // The smaller of both products has the same components.
  const isWide = elements > count;
  const product = isWide ? centred.mmul(centred.transpose()) : centred.transpose().mmul(centred);
  const { eigenvectorMatrix } = new EigenvalueDecomposition(product, { assumeSymmetric: true });
  const vectors = isWide ? centred.transpose().mmul(eigenvectorMatrix) : eigenvectorMatrix;
  // Eigenvalues rise, so that the strongest stand last. Centred filters have one component less.
  const most = Math.min(mostComponents, elements, Math.max(1, count - 1));
  return Array.from({ length: most }, (_, i) => {
    const component = vectors.getColumn(vectors.columns - 1 - i);
    return { width: side, height: side, channels, data: asBytes(component) };
  });
}

/** Numbers from their least to their most as 0 to 255, the sign such that the largest is positive. */
function asBytes(values: readonly number[]): Uint8Array {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const sign = -least > most ? -1 : 1;
  const from = sign > 0 ? least : -most;
  const range = most - least || 1;
  return Uint8Array.from(values, (value) => Math.round(255 * (sign * value - from) / range));
}
