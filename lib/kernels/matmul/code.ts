/** Types that the writers of a matrix product's WGSL share. */
import type { Layout, Tile } from "./tiles.ts";

/** Elements of one load: 4 where the row length of the matrix divides by four, else 1. */
export type Width = 1 | 4;

/** Description of one module; equal values mean equal WGSL. */
export interface MatmulCode {
  layout: Layout;
  tile: Tile;
  /** The width of a's rows, and of b's in nt. */
  widthA: Width;
  /** The width of the output's rows, and of b's in nn and tn. */
  width: Width;
  /**
   * Number of products made together, see `parts` of `ProductShape`: b0, b1, … and, in nt, a0, a1,
   * …
   */
  parts: number;
  /** The grid's x runs down the output's rows, not across its columns. */
  downFirst: boolean;
  /** Layout tn: also sum b's columns. */
  columnSums: boolean;
  /**
   * Layouts nn and tn: the rows of a are overlapping windows of images instead of lying one after
   * the other, for a convolution. `declarations` must then have `fn window_start(row: u32) -> u32`,
   * where a row's window begins, and `fn window_element(k: u32) -> u32`, how far from there its
   * element k lies, both in elements and for k a multiple of `widthA`; in tn also
   * `fn row_of_b(row: u32) -> u32`, which row of b belongs to a row of a.
   */
  windows?: boolean;
  /** Names and types of what is bound after the operands. */
  extraInputs: [name: string, type: string][];
  /** Names of more outputs of Value. */
  extraOutputs: string[];
  /**
   * Declarations of functions and of the uniform's type `Uniforms`, which must have the fields
   * rows, columns, depth and chunk; the uniform itself is `u`.
   */
  declarations: string;
  /** Statements at the start of `main`. */
  prologue: string;
  /**
   * Body of `store(row: u32, column: u32, sum: Value)` for one output, where Value is f32 or
   * vec4<f32> by `width` and column that of its first element.
   */
  store: (output: number) => string;
}

/** 0 to count - 1. */
export const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
/** The WGSL type of one load. */
export const typeOf = (width: Width): string => width === 4 ? "vec4<f32>" : "f32";

/** The name of an operand of one part. */
export function operandOf({ layout }: MatmulCode, operand: "a" | "b", part: number): string {
  return operand === "a" && layout !== "nt" ? "a0" : `${operand}${part}`;
}
