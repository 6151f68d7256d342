/** Cuts of matrix products into threads and workgroups, and the choice of one for a product. */
import { currentGpu, type Gpu } from "../../backend/device.ts";
import { sizeClass } from "../forms.ts";

/**
 * Operand of a @ b that lies transposed in memory: n neither way, t transposed, a's letter first. A
 * dense layer y = x @ W needs all three: nn makes y = x @ W, nt the input's gradient dy @ W^T, tn
 * the kernel's x^T @ dy.
 */
export type Layout = "nn" | "nt" | "tn";

/** Cut of the output into threads and workgroups. */
export interface Tile {
  /**
   * Place where a workgroup keeps what its threads share: nowhere, in a subgroup, in workgroup
   * memory.
   */
  kind: "plain" | "subgroup" | "shared";
  /** Rows of the output a thread owns; a multiple of 4. */
  rows: number;
  /** Columns a thread owns; a multiple of 4. */
  columns: number;
  /**
   * Threads of a workgroup along the columns and the rows. In the subgroup form 8, and how many
   * subgroups side by side walk along the sum together.
   */
  lanes: [number, number];
}

/** The shape of a product: its output is [rows, columns], summed over `depth`. */
export interface ProductShape {
  layout: Layout;
  rows: number;
  depth: number;
  columns: number;
  /**
   * How many products of this shape are one operation, as those of attention's query, key and
   * value; 1 by default. In nn and tn one a meets several b and makes as many outputs; in nt
   * several pairs of a and b are added up in one output.
   */
  parts?: number;
}

/** Rows and columns that one workgroup computes. */
export function workgroupTile(tile: Tile): { rows: number; columns: number } {
  const [x, y] = tile.lanes;
  return tile.kind === "subgroup"
    ? { rows: tile.rows, columns: tile.columns * x * y }
    : { rows: tile.rows * y, columns: tile.columns * x };
}

const tile = (kind: Tile["kind"], rows: number, columns: number, x: number, y: number): Tile => ({
  kind,
  rows,
  columns,
  lanes: [x, y],
});

/** The tiles worth trying, by name. */
export const tiles = {
  /** Large products. */
  plain: tile("plain", 8, 8, 8, 8),
  /** Small outputs, so that there are more threads. */
  plainSmall: tile("plain", 4, 4, 8, 8),
  /** At most 8 rows: every element of b is read once. */
  plainFlat: tile("plain", 8, 4, 64, 1),
  shared: tile("shared", 8, 8, 8, 8),
  /** The same output with four times the threads. */
  sharedSmall: tile("shared", 4, 4, 16, 16),
  subgroup: tile("subgroup", 32, 4, 8, 1),
  subgroupSmall: tile("subgroup", 16, 4, 8, 1),
  /** At most 8 rows: every element of b is read once. */
  subgroupFlat: tile("subgroup", 8, 8, 8, 1),
  /** The same where b's rows are long, so that whole pages of b are read at a time. */
  subgroupFlatWide: tile("subgroup", 8, 8, 8, 16),
} satisfies Record<string, Tile>;

export type TileName = keyof typeof tiles;

/** Tiles found better by measurement, by {@linkcode productKey}; they come before the rule. */
export const measuredTiles = new Map<string, TileName>();

/** Names a product's shape in {@linkcode measuredTiles}; batches of similar sizes share a name. */
export function productKey({ layout, rows, depth, columns, parts = 1 }: ProductShape): string {
  const shape = layout === "tn"
    ? [rows, sizeClass(depth), columns]
    : [sizeClass(rows), depth, columns];
  return `${layout}/${shape.join("x")}${parts > 1 ? `x${parts}` : ""}`;
}

/**
 * Choice measured for a product, or for one of twice the batch: the last of an epoch is smaller.
 */
function measuredTile(product: ProductShape): TileName | undefined {
  const { layout, rows, depth } = product;
  const larger = layout === "tn" ? { depth: 2 * depth } : { rows: 2 * rows };
  return measuredTiles.get(productKey(product)) ??
    measuredTiles.get(productKey({ ...product, ...larger }));
}

/** True when each workgroup of 8 lanes is exactly one subgroup, as the subgroup tiles need. */
export function hasSubgroupsOf8(gpu: Gpu | undefined = currentGpu()): boolean {
  return gpu !== undefined && gpu.features.has("subgroups") &&
    gpu.info.subgroupMinSize === 8 && gpu.info.subgroupMaxSize === 8;
}

/** The tile of a product: the measured one, else by a rule on its shape. */
export function chooseTile(product: ProductShape, subgroups: boolean): Tile {
  const measured = measuredTile(product);
  if (measured) return tiles[measured];
  const { layout, rows, columns, depth } = product;
  if (subgroups) {
    if (rows <= 8) {
      return layout === "nn" && columns >= 1024 ? tiles.subgroupFlatWide : tiles.subgroupFlat;
    }
    // The large tile takes a second to compile, which odd shapes (rare in models) do not repay.
    const odd = columns % 4 !== 0 || (layout === "tn" ? rows : depth) % 4 !== 0;
    return rows <= 16 || odd ? tiles.subgroupSmall : tiles.subgroup;
  }
  if (rows <= 8) return tiles.plainFlat;
  return rows * columns <= 64 * 1024 ? tiles.plainSmall : tiles.plain;
}

/** The names of the tiles that could suit a product on an adapter. */
export function candidateTiles({ rows }: ProductShape, subgroups: boolean): TileName[] {
  const kinds: TileName[] = rows <= 8
    ? ["plainFlat", "plainSmall"]
    : ["plain", "plainSmall", "shared", "sharedSmall"];
  if (!subgroups) return kinds;
  // On a CPU the others lose by far, and take seconds to compile.
  return rows <= 8 ? ["subgroupFlat", "subgroupFlatWide"] : ["subgroup", "subgroupSmall"];
}
