/**
 * Matrix products of the webgpu backend: which tile a product gets, and its dispatches.
 *
 * Products that write the output once carry an epilogue (bias, GELU, dropout, residual) in the same
 * dispatch. The gradient of a kernel sums over the rows of a whole batch, where few tiles would
 * leave a GPU idle: its rows are split, and a second dispatch adds the parts in a fixed order, so
 * the result has the same bits every time.
 */
import { dispatch, uniformWords } from "../../backend/compute.ts";
import { currentGpu } from "../../backend/device.ts";
import type { Role } from "../../backend/precision.ts";
import { randomWgsl } from "../../random.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import { bitsWgsl, isOfPart } from "../dropout.ts";
import { geluTanhWgsl, geluWgsl } from "../gelu.ts";
import {
  chooseTile,
  hasSubgroupsOf8,
  type ProductShape,
  type Tile,
  workgroupTile,
} from "./tiles.ts";
import type { Width } from "./code.ts";
import { gridParts, matmulWgsl } from "./wgsl.ts";
import { sumLeading } from "../sum_leading.ts";
import { dispose } from "../register.ts";

/**
 * Operands of one product, or of several parts that are one operation; see {@linkcode
 * ProductShape}.
 */
export interface Product extends ProductShape {
  a: TensorInfo | TensorInfo[];
  b: TensorInfo | TensorInfo[];
}

/** A tensor as a matrix whose rows are its last dimension. */
export function matrixOf(tensor: TensorInfo, columns: number): TensorInfo {
  const rows = tf.util.sizeFromShape(tensor.shape) / columns;
  return { dataId: tensor.dataId, dtype: tensor.dtype, shape: [rows, columns] };
}

/** Steps that each element of a product goes through before it is written. */
export interface Epilogue {
  /** [columns], added first; one for each output. */
  bias?: TensorInfo | TensorInfo[];
  /** Then GELU, the exact one or that by tanh. */
  gelu?: boolean | "tanh";
  /** Then dropout; see {@linkcode Dropout}. */
  dropout?: {
    threshold: number;
    scale: number;
    stream: number;
    stepKey: TensorInfo;
    /** Elements of the output for each image. */
    ofImage: number;
  };
  /** Added last: [rows, columns], or fewer rows that repeat. */
  residual?: TensorInfo;
  /** Multiplies the value after all that: [rows, columns]. */
  factor?: TensorInfo;
  /** Also write the derivative of dropout(gelu(z)) to z, as a second output. */
  slope?: boolean;
}

const widthOf = (length: number): Width => length % 4 === 0 ? 4 : 1;

/** A tile in the key of a pipeline. */
export const tileName = ({ kind, rows, columns, lanes }: Tile): string =>
  `${kind}${rows}x${columns}x${lanes}`;

const uniformsWgsl = /* wgsl */ `
struct Uniforms {
  rows: u32, columns: u32, depth: u32, chunk: u32, residual_rows: u32, stream: u32, threshold: u32, scale: f32,
  of_image: u32,
}
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
    ["u", dropout?.ofImage ?? 0],
  ]);
}

/**
 * A product in layout nn or nt, with its epilogue, in one dispatch.
 *
 * @returns Of each output [rows, columns], then its slope if the epilogue asks for it.
 */
export function matmul(product: Product, epilogue: Epilogue = {}): TensorInfo[] {
  const { layout, rows, depth, columns } = product;
  const { gelu = false, dropout, residual, factor, slope = false } = epilogue;
  const bs = [product.b].flat();
  const parts = bs.length;
  const biases = epilogue.bias ? [epilogue.bias].flat() : [];
  const tile = chooseTile({ ...product, parts }, hasSubgroupsOf8());
  const residualRows = residual ? tf.util.sizeFromShape(residual.shape) / columns : 1;
  const steps = [
    biases.length > 0 && "bias",
    gelu && (gelu === "tanh" ? "gelutanh" : "gelu"),
    dropout && "dropout",
    dropout && isOfPart(dropout.stepKey) && "part",
    residual && (residualRows === rows ? "residual" : "repeated"),
    factor && "factor",
    slope && "slope",
  ].filter((step) => step !== false && step !== undefined);
  const stored: Role = layout === "nn" ? "activation" : "gradient";
  const output = { shape: [rows, columns], dtype: "float32" as const, stored };
  const outputs = (layout === "nt" ? 1 : parts) + (slope ? 1 : 0);
  const group = workgroupTile(tile);
  const [widthA, width] = [widthOf(depth), widthOf(columns)];
  const kind = `${layout}${parts > 1 ? parts : ""}`;
  return dispatch({
    key: `matmul/${kind}/${widthA}${width}/${tileName(tile)}/${steps.join("+")}`,
    wgsl: () =>
      matmulWgsl({
        layout,
        tile,
        widthA,
        width,
        parts,
        downFirst: false,
        columnSums: false,
        extraInputs: [
          ...biases.map((_, i): [string, string] => [`bias${i}`, "Value"]),
          ...(residual ? [["residual", "Value"] as [string, string]] : []),
          ...(dropout ? [["step_key", "u32"] as [string, string]] : []),
          ...(factor ? [["factor", "Value"] as [string, string]] : []),
        ],
        extraOutputs: slope ? ["slopes"] : [],
        declarations: uniformsWgsl + (dropout ? `var<private> key: vec2<u32>;${randomWgsl}` : "") +
          (gelu ? gelu === "tanh" ? geluTanhWgsl : geluWgsl : ""),
        prologue: dropout ? "key = stream_key(step_key[0], u.stream, step_key[1]);" : "",
        store: (output) => epilogueWgsl(steps, width, output),
      }),
    inputs: [
      ...[product.a].flat(),
      ...bs,
      ...biases,
      ...[residual, dropout?.stepKey, factor].filter((tensor) => tensor !== undefined),
    ],
    outputs: Array(outputs).fill(output),
    uniforms: productUniforms(product, depth, residualRows, dropout),
    workgroups: [
      Math.ceil(columns / group.columns),
      Math.ceil(rows / group.rows),
      gridParts({ layout, parts, tile }),
    ],
  });
}

function epilogueWgsl(steps: string[], width: Width, output: number): string {
  const has = (step: string) => steps.includes(step);
  const gelu = has("gelu") || has("gelutanh");
  const threshold = width === 1 ? "u.threshold" : "vec4<u32>(u.threshold)";
  const row = has("repeated") ? "(row % u.residual_rows)" : "row";
  return [
    `let e = row * u.columns + column;`,
    `var value = sum;`,
    has("bias") && `value += bias${output}[column / ${width}u];`,
    has("slope") && `var slope = Value(1.0);`,
    gelu && `let parts = normal_parts(value);`,
    gelu && has("slope") && `slope = parts.cdf + value * parts.pdf;`,
    gelu && `value *= parts.cdf;`,
    has("dropout") &&
    `let keep = select(Value(u.scale), Value(), ${bitsWgsl(width, has("part"))} < ${threshold});`,
    has("dropout") && `value *= keep;`,
    has("dropout") && has("slope") && `slope *= keep;`,
    (has("residual") || has("repeated")) &&
    `value += residual[(${row} * u.columns + column) / ${width}u];`,
    has("factor") && `value *= factor[e / ${width}u];`,
    `y${output}[e / ${width}u] = value;`,
    has("slope") && `slopes[e / ${width}u] = slope;`,
  ].filter((line) => line !== false).map((line) => `  ${line}`).join("\n");
}

/** Rows that one split takes at least, so that the second pass stays small beside the first. */
const MIN_SPLIT_ROWS = 256;

/**
 * Number of parts that the rows of a tn product are cut into. Not by its tile: the order of the
 * additions, hence the bits of the result, must not depend on what a measurement chose.
 */
export function splitCount({ rows, depth, columns }: ProductShape, outputs: number): number {
  const workgroups = Math.ceil(rows / 32) * Math.ceil(columns / 32) * outputs;
  // A software adapter has a few cores, a GPU needs thousands of threads to hide its latencies.
  const wanted = currentGpu()?.isSoftware ? 8 : 1024;
  return Math.max(
    1,
    Math.min(Math.ceil(wanted / workgroups), Math.floor(depth / MIN_SPLIT_ROWS)),
  );
}

/** How the rows of a tn product are cut: into how many parts, each of how many rows. */
export function cutOfRows(
  product: ProductShape,
  outputs: number,
): { chunk: number; splits: number } {
  const { depth } = product;
  const chunk = Math.ceil(depth / splitCount(product, outputs) / 8) * 8;
  return { chunk, splits: Math.ceil(depth / chunk) };
}

/**
 * A product in layout tn, in one dispatch, or two where its rows are split.
 *
 * @returns Of each b [rows, columns], then of each, where `columnSums` asks for it, the sums
 * [columns] of its columns.
 */
export function matmulOverRows(product: Product, columnSums: boolean): TensorInfo[] {
  const { layout, rows, depth, columns } = product;
  const bs = [product.b].flat();
  const parts = bs.length;
  const tile = chooseTile({ ...product, parts }, hasSubgroupsOf8());
  const group = workgroupTile(tile);
  const across = Math.ceil(columns / group.columns);
  const down = Math.ceil(rows / group.rows);
  const { chunk, splits } = cutOfRows(product, parts);
  const [widthA, width] = [widthOf(rows), widthOf(columns)];
  // Neighbours in the grid share what is long: a strip of b, or rows of the output.
  const downFirst = depth > rows;
  const splitShape = splits > 1 ? [splits] : [];
  const outputs = (shape: number[], stored?: Role) =>
    Array(parts).fill({ shape: [...splitShape, ...shape], dtype: "float32" as const, stored });
  const stored: Role = "kernelGradient";
  const kind = `tn${parts > 1 ? parts : ""}`;
  const results = dispatch({
    key: `matmul/${kind}/${widthA}${width}/${tileName(tile)}/${columnSums}${
      downFirst ? "/down" : ""
    }`,
    wgsl: () =>
      matmulWgsl({
        layout,
        tile,
        widthA,
        width,
        parts,
        downFirst,
        columnSums,
        extraInputs: [],
        extraOutputs: [],
        declarations: uniformsWgsl,
        prologue: "",
        store: (output) =>
          `y${output}[((split * u.rows + row) * u.columns + column) / ${width}u] = sum;`,
      }),
    inputs: [...[product.a].flat(), ...bs],
    outputs: [
      // Parts of a sum are float32.
      ...outputs([rows, columns], splits === 1 ? stored : undefined),
      ...(columnSums ? outputs([columns]) : []),
    ],
    uniforms: productUniforms(product, chunk),
    workgroups: [
      ...(downFirst ? [down, across] : [across, down]) as [number, number],
      splits * gridParts({ layout, parts, tile }),
    ],
  });
  if (splits === 1) return results;
  const whole = sumLeading(results, splits, Array(parts).fill(stored));
  dispose(...results);
  return whole;
}
