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
import { gridOf, gridWgsl } from "./grid.ts";
import { type Layout, matmulWgsl, type Tile, valueWidth, workgroupTile } from "./matmul_wgsl.ts";

/** A product with output [rows, columns], summed over `inner`; see `matmul_wgsl.ts` for layouts. */
export interface Product {
  layout: Layout;
  a: TensorInfo;
  b: TensorInfo;
  rows: number;
  inner: number;
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
  /** Few columns, or few rows of tiles. */
  plainSmall: plainTile(4, 4, 8, 8),
  /** At most 8 rows: every element of b is read once. */
  plainFlat: plainTile(8, 4, 64, 1),
  subgroup: subgroupTile(32, 4),
  subgroupSmall: subgroupTile(16, 4),
  /** At most 8 rows: every element of b is read once, in long runs. */
  subgroupFlat: subgroupTile(8, 8),
} satisfies Record<string, Tile>;

/** Tiles found better by measurement, by {@linkcode productKey}; they come before the rule. */
export const measuredTiles = new Map<string, Tile>();

/** Names a product's shape in {@linkcode measuredTiles}. */
export function productKey({ layout, rows, inner, columns }: Omit<Product, "a" | "b">): string {
  return `${layout}/${rows}x${inner}x${columns}`;
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
  const { rows, columns } = product;
  if (subgroups) {
    if (rows <= 8) return tiles.subgroupFlat;
    return rows <= 16 ? tiles.subgroupSmall : tiles.subgroup;
  }
  if (rows <= 8) return tiles.plainFlat;
  return rows * columns <= 64 * 1024 ? tiles.plainSmall : tiles.plain;
}

const tileName = ({ kind, rows, columns, lanes }: Tile): string =>
  `${kind}${rows}x${columns}x${lanes}`;

const uniformsWgsl = (binding: number) => /* wgsl */ `
struct Uniforms {
  rows: u32, inner: u32, chunk: u32, residual_rows: u32, stream: u32, threshold: u32, scale: f32,
}
@group(0) @binding(${binding}) var<uniform> u: Uniforms;
`;

function productUniforms(
  { rows, inner }: Product,
  chunk: number,
  residualRows = 1,
  dropout?: Epilogue["dropout"],
): Uint32Array {
  return uniformWords([
    ["u", rows],
    ["u", inner],
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
  const { layout, rows, inner, columns } = product;
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
  return dispatch({
    key: `matmul/${layout}/${inner}x${columns}/${tileName(tile)}/${steps.join("+")}`,
    wgsl: () => {
      const width = valueWidth(layout, tile, columns);
      const outputs = slope ? 2 : 1;
      return matmulWgsl({
        layout,
        tile,
        columns,
        depth: inner,
        columnSums: false,
        extraInputs: extra.length,
        declarations: uniformsWgsl(2 + extra.length + outputs) +
          epilogueBindings(epilogue, 2 + extra.length),
        prologue: dropout ? "key = stream_key(step_key[0], u.stream, step_key[1]);" : "",
        store: epilogueWgsl(steps, columns, width),
      });
    },
    inputs: [product.a, product.b, ...extra],
    outputs: slope ? [output, output] : [output],
    uniforms: productUniforms(product, inner, residualRows, dropout),
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

function epilogueWgsl(steps: string[], columns: number, width: 1 | 4): string {
  const has = (step: string) => steps.includes(step);
  const bits = width === 1
    ? "random_bits(key, e)"
    : "vec4<u32>(random_bits(key, e), random_bits(key, e + 1u), " +
      "random_bits(key, e + 2u), random_bits(key, e + 3u))";
  const threshold = width === 1 ? "u.threshold" : "vec4<u32>(u.threshold)";
  const row = has("repeated") ? "(row % u.residual_rows)" : "row";
  return [
    `let e = row * ${columns}u + column;`,
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
    `value += residual[(${row} * ${columns}u + column) / ${width}u];`,
    `y[e / ${width}u] = value;`,
    has("slope") && `slopes[e / ${width}u] = slope;`,
  ].filter((line) => line !== false).map((line) => `  ${line}`).join("\n");
}

/** Rows that one split takes at least, so that the second pass stays small beside the first. */
const MIN_SPLIT_ROWS = 256;

/** How many parts the rows of a tn product are cut into. */
function splitCount(workgroups: number, inner: number): number {
  // A software adapter has a few cores, a GPU needs thousands of threads to hide its latencies.
  const wanted = currentGpu()?.isSoftware ? 8 : 1024;
  return Math.max(
    1,
    Math.min(Math.ceil(wanted / workgroups), Math.floor(inner / MIN_SPLIT_ROWS)),
  );
}

/**
 * A product in layout tn, in one dispatch, or two where its rows are split.
 *
 * @returns [rows, columns], and where `columnSums` asks for it the sums [columns] of b's columns.
 */
export function matmulOverRows(product: Product, columnSums: boolean): TensorInfo[] {
  const { layout, rows, inner, columns } = product;
  const tile = chooseTile(product, hasSubgroupsOf8());
  const group = workgroupTile(tile);
  const across = Math.ceil(columns / group.columns);
  const down = Math.ceil(rows / group.rows);
  const wanted = splitCount(across * down, inner);
  const chunk = Math.ceil(inner / wanted / 8) * 8;
  const splits = Math.ceil(inner / chunk);
  const width = valueWidth(layout, tile, columns);
  const parts = splits > 1 ? [splits] : [];
  const results = dispatch({
    key: `matmul/tn/${rows}x${columns}/${tileName(tile)}/${columnSums}`,
    wgsl: () =>
      matmulWgsl({
        layout,
        tile,
        columns,
        depth: rows,
        columnSums,
        extraInputs: 0,
        declarations: uniformsWgsl(columnSums ? 4 : 3) + "var<private> part: u32;",
        prologue: `part = workgroup.z * ${rows * columns}u;`,
        store: `y[(part + row * ${columns}u + column) / ${width}u] = sum;`,
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

/** Sums of one or two tensors over their leading `count` parts, in one dispatch. */
export function sumLeading(parts: TensorInfo[], count: number): TensorInfo[] {
  const sizes = parts.map((part) => tf.util.sizeFromShape(part.shape) / count);
  const threads = sizes.reduce((a, b) => a + b);
  return dispatch({
    key: `sum_leading/${parts.length}`,
    wgsl: () => sumLeadingWgsl(parts.length),
    inputs: parts,
    outputs: parts.map((part) => ({ shape: part.shape.slice(1), dtype: "float32" })),
    uniforms: uniformWords([["u", count], ["u", sizes[0]!], ["u", sizes[1] ?? 0]]),
    workgroups: gridOf(Math.ceil(threads / 64)),
  });
}

function sumLeadingWgsl(count: number): string {
  const index = (i: number) => i === 0 ? "i" : "(i - u.size0)";
  const names = Array.from({ length: count }, (_, i) => i);
  return /* wgsl */ `
struct Uniforms { count: u32, size0: u32, size1: u32 }
${names.map((i) => `@group(0) @binding(${i}) var<storage, read> x${i}: array<f32>;`).join("\n")}
${
    names.map((i) => `@group(0) @binding(${count + i}) var<storage, read_write> y${i}: array<f32>;`)
      .join("\n")
  }
@group(0) @binding(${2 * count}) var<uniform> u: Uniforms;
${gridWgsl}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = block_of(workgroup, workgroups) * 64u + lane;
  ${
    names.map((n) =>
      `if (${n === 0 ? "i < u.size0" : "i >= u.size0 && i - u.size0 < u.size1"}) {
    var sum = 0.0;
    for (var part = 0u; part < u.count; part++) { sum += x${n}[part * u.size${n} + ${index(n)}]; }
    y${n}[${index(n)}] = sum;
  }`
    ).join("\n  ")
  }
}
`;
}
