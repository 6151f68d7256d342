/**
 * Matrix products of the webgpu backend: which tile a product gets, and its dispatches.
 *
 * Products that write the output once carry an epilogue (bias, GELU, dropout, residual) in the same
 * dispatch. The gradient of a kernel sums over the rows of a whole batch, where few tiles would
 * leave a GPU idle: its rows are split, and a second dispatch adds the parts in a fixed order, so
 * the result has the same bits every time.
 */
import { dispatch, uniformWords } from "../backend/compute.ts";
import { currentGpu } from "../backend/device.ts";
import { randomWgsl } from "../random.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { geluWgsl } from "./gelu.ts";
import { type Layout, matmulWgsl, type Tile, type Width, workgroupTile } from "./matmul_wgsl.ts";
import { sumLeading } from "./sum_leading.ts";

/** A product with output [rows, columns], summed over `depth`; see `matmul_wgsl.ts` for layouts. */
export interface Product {
  layout: Layout;
  a: TensorInfo;
  b: TensorInfo;
  rows: number;
  depth: number;
  columns: number;
}

/** What is done to each element of a product before it is written. */
export interface Epilogue {
  /** [columns], added first. */
  bias?: TensorInfo;
  /** Then the exact GELU. */
  gelu?: boolean;
  /** Then dropout; `stepKey` is int32 [2]. */
  dropout?: { threshold: number; scale: number; stream: number; stepKey: TensorInfo };
  /** Added last: [rows, columns], or fewer rows that repeat. */
  residual?: TensorInfo;
  /** Also write the derivative of dropout(gelu(z)) to z, as a second output. */
  slope?: boolean;
}

const plainTile = (rows: number, columns: number, x: number, y: number): Tile => ({
  kind: "plain",
  rows,
  columns,
  lanes: [x, y],
});
const subgroupTile = (rows: number, columns: number): Tile => ({
  kind: "subgroup",
  rows,
  columns,
  lanes: [8, 1],
});

/** The tiles worth trying, by name. */
export const tiles = {
  /** Large products. */
  plain: plainTile(8, 8, 8, 8),
  /** Small outputs, so that there are more threads. */
  plainSmall: plainTile(4, 4, 8, 8),
  /** At most 8 rows: every element of b is read once. */
  plainFlat: plainTile(8, 4, 64, 1),
  subgroup: subgroupTile(32, 4),
  subgroupSmall: subgroupTile(16, 4),
  /** At most 8 rows: every element of b is read once, in long runs. */
  subgroupFlat: subgroupTile(8, 8),
  /** The same for rows of b longer than a page, where every step is a miss of the address cache. */
  subgroupFlatWide: subgroupTile(8, 16),
} satisfies Record<string, Tile>;

/** Tiles found better by measurement, by {@linkcode productKey}; they come before the rule. */
export const measuredTiles = new Map<string, Tile>();

/** Names a product's shape in {@linkcode measuredTiles}. */
export function productKey({ layout, rows, depth, columns }: Omit<Product, "a" | "b">): string {
  return `${layout}/${rows}x${depth}x${columns}`;
}

/** True when each workgroup of 8 lanes is exactly one subgroup, as the subgroup tiles need. */
export function hasSubgroupsOf8(): boolean {
  const gpu = currentGpu();
  return gpu !== undefined && gpu.features.has("subgroups") &&
    gpu.info.subgroupMinSize === 8 && gpu.info.subgroupMaxSize === 8;
}

/** The tile of a product: the measured one, else by a rule on its shape. */
export function chooseTile(product: Omit<Product, "a" | "b">, subgroups: boolean): Tile {
  const measured = measuredTiles.get(productKey(product));
  if (measured) return measured;
  const { rows, columns, depth } = product;
  if (subgroups) {
    if (rows <= 8) return columns > 1024 ? tiles.subgroupFlatWide : tiles.subgroupFlat;
    // The large tile takes a second to compile, which odd shapes (rare in models) do not repay.
    const odd = columns % 4 !== 0 || (product.layout === "tn" ? rows : depth) % 4 !== 0;
    return rows <= 16 || odd ? tiles.subgroupSmall : tiles.subgroup;
  }
  if (rows <= 8) return tiles.plainFlat;
  return rows * columns <= 64 * 1024 ? tiles.plainSmall : tiles.plain;
}

const widthOf = (length: number): Width => length % 4 === 0 ? 4 : 1;

const tileName = ({ kind, rows, columns, lanes }: Tile): string =>
  `${kind}${rows}x${columns}x${lanes}`;

const uniformsWgsl = (binding: number) => /* wgsl */ `
struct Uniforms {
  rows: u32, columns: u32, depth: u32, chunk: u32, residual_rows: u32, stream: u32, threshold: u32, scale: f32,
}
@group(0) @binding(${binding}) var<uniform> u: Uniforms;
`;

function productUniforms(
  { rows, columns, depth }: Product,
  chunk: number,
  residualRows = 1,
  dropout?: Epilogue["dropout"],
): Uint32Array {
  return uniformWords([
    ["u", rows],
    ["u", columns],
    ["u", depth],
    ["u", chunk],
    ["u", residualRows],
    ["u", dropout?.stream ?? 0],
    ["u", dropout?.threshold ?? 0],
    ["f", dropout?.scale ?? 1],
  ]);
}

/**
 * A product in layout nn or nt, with its epilogue, in one dispatch.
 *
 * @returns [rows, columns], and the slope of that shape where the epilogue asks for it.
 */
export function matmul(product: Product, epilogue: Epilogue = {}): TensorInfo[] {
  const { layout, rows, depth, columns } = product;
  const { bias, gelu = false, dropout, residual, slope = false } = epilogue;
  const tile = chooseTile(product, hasSubgroupsOf8());
  const residualRows = residual ? tf.util.sizeFromShape(residual.shape) / columns : 1;
  const steps = [
    bias && "bias",
    gelu && "gelu",
    dropout && "dropout",
    residual && (residualRows === rows ? "residual" : "repeated"),
    slope && "slope",
  ].filter((step) => step !== false && step !== undefined);
  const extra = [bias, residual, dropout?.stepKey].filter((tensor) => tensor !== undefined);
  const output = { shape: [rows, columns], dtype: "float32" as const };
  const group = workgroupTile(tile);
  const [widthA, width] = [widthOf(depth), widthOf(columns)];
  return dispatch({
    key: `matmul/${layout}/${widthA}${width}/${tileName(tile)}/${steps.join("+")}`,
    wgsl: () =>
      matmulWgsl({
        layout,
        tile,
        widthA,
        width,
        columnSums: false,
        extraInputs: extra.length,
        declarations: uniformsWgsl(2 + extra.length + (slope ? 2 : 1)) +
          epilogueBindings(epilogue, 2 + extra.length),
        prologue: dropout ? "key = stream_key(step_key[0], u.stream, step_key[1]);" : "",
        store: epilogueWgsl(steps, width),
      }),
    inputs: [product.a, product.b, ...extra],
    outputs: slope ? [output, output] : [output],
    uniforms: productUniforms(product, depth, residualRows, dropout),
    workgroups: [Math.ceil(columns / group.columns), Math.ceil(rows / group.rows), 1],
  });
}

function epilogueBindings({ bias, gelu, dropout, residual, slope }: Epilogue, outputs: number) {
  let binding = 2;
  const lines: string[] = [];
  const input = (name: string, type: string) =>
    lines.push(
      `@group(0) @binding(${binding++}) var<storage, read> ${name}: array<${type}>;`,
    );
  if (bias) input("bias", "Value");
  if (residual) input("residual", "Value");
  if (dropout) input("step_key", "u32");
  if (slope) {
    lines.push(
      `@group(0) @binding(${outputs + 1}) var<storage, read_write> slopes: array<Value>;`,
    );
  }
  if (dropout) lines.push(`var<private> key: vec2<u32>;`, randomWgsl);
  if (gelu) lines.push(geluWgsl);
  return lines.join("\n");
}

function epilogueWgsl(steps: string[], width: Width): string {
  const has = (step: string) => steps.includes(step);
  const bits = width === 1
    ? "random_bits(key, e)"
    : "vec4<u32>(random_bits(key, e), random_bits(key, e + 1u), " +
      "random_bits(key, e + 2u), random_bits(key, e + 3u))";
  const threshold = width === 1 ? "u.threshold" : "vec4<u32>(u.threshold)";
  const row = has("repeated") ? "(row % u.residual_rows)" : "row";
  return [
    `let e = row * u.columns + column;`,
    `var value = sum;`,
    has("bias") && `value += bias[column / ${width}u];`,
    has("slope") && `var slope = Value(1.0);`,
    has("gelu") && `let parts = normal_parts(value);`,
    has("gelu") && has("slope") && `slope = parts.cdf + value * parts.pdf;`,
    has("gelu") && `value *= parts.cdf;`,
    has("dropout") &&
    `let keep = select(Value(u.scale), Value(), ${bits} < ${threshold});`,
    has("dropout") && `value *= keep;`,
    has("dropout") && has("slope") && `slope *= keep;`,
    (has("residual") || has("repeated")) &&
    `value += residual[(${row} * u.columns + column) / ${width}u];`,
    `y[e / ${width}u] = value;`,
    has("slope") && `slopes[e / ${width}u] = slope;`,
  ].filter((line) => line !== false).map((line) => `  ${line}`).join("\n");
}

/** Rows that one split takes at least, so that the second pass stays small beside the first. */
const MIN_SPLIT_ROWS = 256;

/** How many parts the rows of a tn product are cut into. */
function splitCount(workgroups: number, depth: number): number {
  // A software adapter has a few cores, a GPU needs thousands of threads to hide its latencies.
  const wanted = currentGpu()?.isSoftware ? 8 : 1024;
  return Math.max(
    1,
    Math.min(Math.ceil(wanted / workgroups), Math.floor(depth / MIN_SPLIT_ROWS)),
  );
}

/**
 * A product in layout tn, in one dispatch, or two where its rows are split.
 *
 * @returns [rows, columns], and where `columnSums` asks for it the sums [columns] of b's columns.
 */
export function matmulOverRows(product: Product, columnSums: boolean): TensorInfo[] {
  const { layout, rows, depth, columns } = product;
  const tile = chooseTile(product, hasSubgroupsOf8());
  const group = workgroupTile(tile);
  const across = Math.ceil(columns / group.columns);
  const down = Math.ceil(rows / group.rows);
  const wanted = splitCount(across * down, depth);
  const chunk = Math.ceil(depth / wanted / 8) * 8;
  const splits = Math.ceil(depth / chunk);
  const [widthA, width] = [widthOf(rows), widthOf(columns)];
  const parts = splits > 1 ? [splits] : [];
  const results = dispatch({
    key: `matmul/tn/${widthA}${width}/${tileName(tile)}/${columnSums}`,
    wgsl: () =>
      matmulWgsl({
        layout,
        tile,
        widthA,
        width,
        columnSums,
        extraInputs: 0,
        declarations: uniformsWgsl(columnSums ? 4 : 3) + "var<private> part: u32;",
        prologue: "part = workgroup.z * u.rows * u.columns;",
        store: `y[(part + row * u.columns + column) / ${width}u] = sum;`,
      }),
    inputs: [product.a, product.b],
    outputs: [
      { shape: [...parts, rows, columns], dtype: "float32" },
      ...(columnSums ? [{ shape: [...parts, columns], dtype: "float32" as const }] : []),
    ],
    uniforms: productUniforms(product, chunk),
    workgroups: [across, down, splits],
  });
  if (splits === 1) return results;
  const whole = sumLeading(results, splits);
  for (const part of results) tf.backend().disposeData(part.dataId);
  return whole;
}
