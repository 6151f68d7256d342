/** Descriptions of matrix products for the kernels of `assembly/product.ts`. */
import type { TensorInfo } from "../tfjs.ts";
import type { Pool, Work } from "./pool.ts";

/** Words of a description: whole numbers and floats. */
export function descriptionOf(fields: ["i" | "f", number][]): Int32Array {
  const words = new Int32Array(fields.length);
  const floats = new Float32Array(words.buffer);
  fields.forEach(([kind, value], i) => (kind === "f" ? floats : words)[i] = value);
  return words;
}

/** Whole numbers as fields of {@linkcode descriptionOf}. */
export const whole = (...numbers: number[]): ["i", number][] => numbers.map((n) => ["i", n]);

/** Where row m of a matrix begins: m * row + m / inner * skip + m / outer * outerSkip, in floats. */
export interface Rows {
  base: number;
  row: number;
  inner?: number;
  skip?: number;
  outer?: number;
  outerSkip?: number;
}

/** A sum's terms in a matrix, in floats: `step` from one to the next; see {@linkcode Product}. */
export interface Terms {
  step: number;
  segment?: number;
  image?: number;
}

/** C = A @ B; see `Product` in `assembly/product.ts`. */
export interface Product {
  a: Rows & Terms;
  b: Terms & { base: number; column: number };
  c: Rows;
  rows: number;
  columns: number;
  /** Terms of a sum are `images` times `segments` times `count`. */
  count: number;
  segments?: number;
  images?: number;
  /** Whether C is added to. */
  adds?: boolean;
}

/** Bytes that a task keeps for a description of its own; DESCRIPTION of `assembly/product.ts`. */
export const DESCRIPTION_BYTES = 128;

/** No row is beyond it, and it is a multiple of 4. */
const NEVER = 0x7ffffffc;

function rowsOf({ base, row, inner = NEVER, skip = 0, outer = NEVER, outerSkip = 0 }: Rows) {
  return whole(base, 4 * row, inner, 4 * skip, outer, 4 * outerSkip);
}

const termsOf = ({ step, segment = 0, image = 0 }: Terms) =>
  whole(4 * step, 4 * segment, 4 * image);

/** The words of a product. Bases are addresses in bytes. */
export function productWords(p: Product): Int32Array {
  return descriptionOf([
    ...rowsOf(p.a),
    ...termsOf(p.a),
    ...whole(p.b.base),
    ...termsOf(p.b),
    ...whole(4 * p.b.column),
    ...rowsOf(p.c),
    ...whole(p.rows, p.columns, p.count, p.segments ?? 1, p.images ?? 1),
    ["f", 1],
    ...whole(Number(p.adds ?? false)),
  ]);
}

/** Terms that are added before a result is written; LONGEST of `assembly/product.ts`. */
const LONGEST = 576;

/** Bytes that a task needs which makes that many columns of sums of so many terms. */
export function productScratch(count: number, columns: number, segments = 1): number {
  const terms = segments > 1
    ? count * Math.min(segments, Math.max(1, Math.floor(LONGEST / count)))
    : Math.min(count, LONGEST);
  return 4 * terms * (4 + 8 * Math.ceil(columns / 8));
}

/** Blocks of a product that are tasks. */
export interface Blocks {
  rowsEach: number;
  columnsEach: number;
  work: Work;
}

/** Packed columns of B that the second-level cache holds beside the rest. */
const MOST_COLUMNS = 256;
/** Tasks for each thread, so that none waits long for another. */
const TASKS_EACH = 4;
/** Smaller blocks would pack more than they multiply; larger ones gain nothing and end unevenly. */
const LEAST = { rows: 32, columns: 16 };
const MOST_ROWS = 512;

/**
 * Blocks that keep all threads busy, as square as may be: each packs its rows of A and its columns
 * of B anew. An element is the same sum in whatever block it lies, so threads may be counted here.
 */
export function blocksOf(p: Product, { workers }: Pool): Blocks {
  const { rows, columns, count, segments = 1, images = 1 } = p;
  let [rowsEach, columnsEach] = [Math.min(rows, MOST_ROWS), Math.min(columns, MOST_COLUMNS)];
  const tasks = () => Math.ceil(rows / rowsEach) * Math.ceil(columns / columnsEach);
  while (tasks() < TASKS_EACH * (workers + 1)) {
    if (rowsEach >= columnsEach && rowsEach > LEAST.rows) rowsEach = halfOf(rowsEach, 4);
    else if (columnsEach > LEAST.columns) columnsEach = halfOf(columnsEach, 8);
    else break;
  }
  const cost = rows * columns * count * segments * images / 8;
  return {
    rowsEach,
    columnsEach,
    work: { tasks: tasks(), cost, scratch: productScratch(count, columnsEach, segments) },
  };
}

/**
 * Makes a product, in blocks.
 *
 * @param finish What follows it in each block, the words of `Finish` in `assembly/linear.ts`.
 */
export function runProduct(pool: Pool, product: Product, finish: Int32Array | 0 = 0): void {
  const { rowsEach, columnsEach, work } = blocksOf(product, pool);
  pool.run("productTask", work, [productWords(product), rowsEach, columnsEach, finish]);
}

/** Half of a size, rounded up to a multiple. */
const halfOf = (size: number, multiple: number) => multiple * Math.ceil(size / (2 * multiple));

/** How a product's operands lie: rows of a or of a^T, b or b^T. */
export type Layout = "nn" | "nt" | "tn";

/** The product of two matrices, `[rows, depth]` and `[depth, columns]` as `layout` says. */
export function matrixProduct(
  pool: Pool,
  layout: Layout,
  [a, b, c]: [TensorInfo, TensorInfo, TensorInfo],
  { rows, depth, columns }: { rows: number; depth: number; columns: number },
): Product {
  return {
    a: {
      base: pool.addressOf(a),
      ...(layout === "tn" ? { row: 1, step: rows } : { row: depth, step: 1 }),
    },
    b: {
      base: pool.addressOf(b),
      ...(layout === "nt" ? { step: 1, column: depth } : { step: columns, column: 1 }),
    },
    c: { base: pool.addressOf(c), row: columns },
    ...{ rows, columns, count: depth },
  };
}
