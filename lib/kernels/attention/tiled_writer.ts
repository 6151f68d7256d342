/** What the kernels of `tiled_wgsl.ts` share: who owns which rows, and how a tile is taken in. */
import { randomWgsl } from "../../random.ts";
import { gridMainWgsl, gridWgsl } from "../grid.ts";
import { range } from "../matmul/code.ts";
import { type AttentionPlan, bindingsWgsl } from "./writer.ts";

/** Threads along each side of a workgroup. */
export const SIDE = 8;
/** Threads of a workgroup. */
const THREADS = SIDE * SIDE;
/** Streamed rows that a thread makes the products of: the parts of a vector in WGSL. */
export const COLUMNS = 4;
/** Streamed rows of a tile. */
const STREAMED = SIDE * COLUMNS;
/** Vectors of a row that the workgroup's memory holds for the products. */
const CHUNK = 4;
/** From row to row there: odd, so that eight neighbours read from eight different banks. */
const STRIDE = CHUNK + 1;
/** From row to row of the weights, which are vectors of {@linkcode COLUMNS}. */
const WEIGHTS_STRIDE = SIDE + 1;

/** Owned rows of a thread: fewer of wide ones, whose sums would take too many registers. */
export function tiledRows(keyDim: number): number {
  return keyDim > 64 ? 2 : 4;
}

/** Owned rows of a workgroup. */
const ownedRows = ({ rows }: AttentionPlan) => SIDE * rows;

/** Workgroups for each head. */
export function tilesOfHead(plan: AttentionPlan): number {
  return Math.ceil(plan.tokens / ownedRows(plan));
}

/** Sizes that follow from a plan. */
export function sizesOf(plan: AttentionPlan) {
  const vectors = Math.ceil(plan.keyDim / 4);
  const ofThread = Math.ceil(vectors / SIDE);
  const padded = ofThread * SIDE;
  const products = (ownedRows(plan) + STREAMED) * STRIDE;
  // Streamed rows that are added at a time: as many as fit where the products were made.
  const taken = [32, 16, 8].find((count) => count === 8 || count * padded <= products)!;
  return { vectors, ofThread, padded, taken, memory: Math.max(products, taken * padded) };
}

/** What one of the kernels adds to what they share. */
export interface TiledKernel {
  /** Buffers that are read and written, as in `KernelTemplate` of `writer.ts`. */
  read: string[];
  write: string[];
  /** Stands before the loop over tiles. */
  before: string;
  /** Takes in the tile from `j0` on. */
  tile: string;
  /** Stands behind the loop. */
  after: string;
  /** Writes row r of a thread. */
  stored: (r: number) => string;
}

/** `text(0)`, `text(1)`, … on lines of their own. */
export const each = (count: number, text: (i: number) => string) =>
  range(count).map(text).join("\n");
/** WGSL: one number for each owned row of a thread. */
export const ofRows = ({ rows }: AttentionPlan, text: (r: number) => string) =>
  `Rows(${range(rows).map(text).join(", ")})`;

/** Where a token's row begins; one beyond the last token is read as the last, and counts 0. */
export const rowAt = ({ tokens, numHeads, keyDim }: AttentionPlan, token: string) =>
  `head_base + min(${token}, ${tokens - 1}u) * ${numHeads * unitOf(keyDim)}u`;
/** Elements of a row as buffers have them. */
const unitOf = (keyDim: number) => keyDim % 4 === 0 ? keyDim / 4 : keyDim;

/** WGSL: `NAME_at(base, d)`, vector d of the row that begins at base, zero beyond its end. */
function readerWgsl(name: string, { keyDim }: AttentionPlan): string {
  const vectors = Math.ceil(keyDim / 4);
  const value = keyDim % 4 === 0
    ? `${name}[base + d]`
    : `vec4<f32>(${
      range(4).map((e) =>
        keyDim % 4 > e
          ? `${name}[base + 4u * d + ${e}u]`
          : `select(0.0, ${name}[base + min(4u * d + ${e}u, ${keyDim - 1}u)], ` +
            `4u * d + ${e}u < ${keyDim}u)`
      ).join(", ")
    })`;
  return `fn ${name}_at(base: u32, d: u32) -> vec4<f32> {
  if (d >= ${vectors}u) { return vec4<f32>(); }
  return ${value};
}`;
}

/** WGSL statements: write vector x + 8n of the row that begins at base, for all n. */
export function storeWgsl(
  plan: AttentionPlan,
  buffer: string,
  base: string,
  value: (n: number) => string,
): string {
  const { keyDim } = plan;
  const { vectors, ofThread } = sizesOf(plan);
  return each(ofThread, (n) => {
    const d = `(x + ${n * SIDE}u)`;
    if (keyDim % 4 === 0) {
      return `if (${d} < ${vectors}u) { ${buffer}[${base} + ${d}] = ${value(n)}; }`;
    }
    const parts = range(4).map((e) =>
      `if (4u * ${d} + ${e}u < ${keyDim}u) ` +
      `{ ${buffer}[${base} + 4u * ${d} + ${e}u] = (${value(n)}).${"xyzw"[e]}; }`
    );
    return parts.join("\n");
  });
}

/** The WGSL of a kernel. */
export function tiledWgsl(plan: AttentionPlan, kernel: TiledKernel): string {
  const { tokens, numHeads, keyDim, rows, drops } = plan;
  const { memory } = sizesOf(plan);
  const owned = ownedRows(plan);
  const tiles = tilesOfHead(plan);
  const readers = kernel.read.filter((buffer) => !buffer.includes(":"));
  return /* wgsl */ `
struct Uniforms { heads: u32, stream: u32, threshold: u32, keep_scale: f32 }
${bindingsWgsl(plan, kernel)}
${drops ? randomWgsl : ""}${gridWgsl}
alias Rows = vec${rows}<f32>;
var<workgroup> tile: array<vec4<f32>, ${memory}>;
var<workgroup> weights: array<vec4<f32>, ${owned * WEIGHTS_STRIDE}>;
var<workgroup> found: array<Rows, ${THREADS}>;
${readers.map((name) => readerWgsl(name, plan)).join("\n")}
// All threads must call these, which join what the eight threads of the same rows have.
fn largest_of(lane: u32, value: Rows) -> Rows {
  workgroupBarrier();
  found[lane] = value;
  workgroupBarrier();
  var all = value;
  for (var k = 0u; k < ${SIDE}u; k++) { all = max(all, found[lane / ${SIDE}u * ${SIDE}u + k]); }
  return all;
}
fn sum_of(lane: u32, value: Rows) -> Rows {
  workgroupBarrier();
  found[lane] = value;
  workgroupBarrier();
  var all = Rows();
  for (var k = 0u; k < ${SIDE}u; k++) { all += found[lane / ${SIDE}u * ${SIDE}u + k]; }
  return all;
}
${gridMainWgsl(THREADS)} {
  let block = block_of(workgroup, workgroups);
  if (block >= u.heads * ${tiles}u) { return; }
  let head = block / ${tiles}u;
  let first = (block % ${tiles}u) * ${owned}u;
  let image = head / ${numHeads}u;
  let head_base = (image * ${tokens * numHeads}u + head % ${numHeads}u) * ${unitOf(keyDim)}u;
  let x = lane % ${SIDE}u;
  let y = lane / ${SIDE}u;
  ${each(rows, (r) => `let i${r} = min(first + y * ${rows}u + ${r}u, ${tokens - 1}u);`)}
  ${kernel.before}
  for (var j0 = 0u; j0 < ${tokens}u; j0 += ${STREAMED}u) {
    let j = vec4<u32>(j0 + ${COLUMNS}u * x) + vec4<u32>(0u, 1u, 2u, 3u);
    ${kernel.tile}
  }
  ${kernel.after}
  ${
    each(rows, (r) =>
      `if (first + y * ${rows}u + ${r}u < ${tokens}u) {
    let own = ${rowAt(plan, `i${r}`)};
    ${kernel.stored(r)}
  }`)
  }
}
`;
}

/** Products `NAMEr` of owned row r and the four streamed rows of the thread. */
export function productsWgsl(
  plan: AttentionPlan,
  name: string,
  owned: string,
  streamed: string,
): string {
  const { rows } = plan;
  const { vectors } = sizesOf(plan);
  const behind = ownedRows(plan) * STRIDE;
  return /* wgsl */ `
    ${each(rows, (r) => `var ${name}${r} = vec4<f32>();`)}
    for (var d0 = 0u; d0 < ${vectors}u; d0 += ${CHUNK}u) {
      workgroupBarrier();
      for (var e = lane; e < ${ownedRows(plan) * CHUNK}u; e += ${THREADS}u) {
        tile[e / ${CHUNK}u * ${STRIDE}u + e % ${CHUNK}u] =
          ${owned}_at(${rowAt(plan, `(first + e / ${CHUNK}u)`)}, d0 + e % ${CHUNK}u);
      }
      // The thread at x has the rows from 4x on: they lie eight apart, beside those of its neighbours.
      for (var e = lane; e < ${STREAMED * CHUNK}u; e += ${THREADS}u) {
        let row = e / ${CHUNK}u;
        let place = row % ${COLUMNS}u * ${SIDE}u + row / ${COLUMNS}u;
        tile[${behind}u + place * ${STRIDE}u + e % ${CHUNK}u] =
          ${streamed}_at(${rowAt(plan, "(j0 + row)")}, d0 + e % ${CHUNK}u);
      }
      workgroupBarrier();
      for (var d = 0u; d < ${CHUNK}u; d++) {
        ${
    each(COLUMNS, (c) => `let b${c} = tile[${behind}u + (${c * SIDE}u + x) * ${STRIDE}u + d];`)
  }
        ${
    each(rows, (r) =>
      `let a${r} = tile[(y * ${rows}u + ${r}u) * ${STRIDE}u + d];
        ${name}${r} += vec4<f32>(${range(COLUMNS).map((c) => `dot(a${r}, b${c})`).join(", ")});`)
  }
      }
    }`;
}

/** Leaves the four numbers `NAMEr` of each owned row for all threads. */
export function leaveWgsl({ rows }: AttentionPlan, name: string): string {
  return each(
    rows,
    (r) => `weights[(y * ${rows}u + ${r}u) * ${WEIGHTS_STRIDE}u + x] = ${name}${r};`,
  );
}

/** Declares the sums `NAMEr_n`. */
export function sumsWgsl(plan: AttentionPlan, name: string): string {
  return each(
    plan.rows,
    (r) => each(sizesOf(plan).ofThread, (n) => `var ${name}${r}_${n} = vec4<f32>();`),
  );
}

/** Adds the streamed rows, each times what was left for it, to the sums `NAMEr_n`. */
export function addRowsWgsl(plan: AttentionPlan, name: string, streamed: string): string {
  const { tokens, rows } = plan;
  const { ofThread, padded, taken } = sizesOf(plan);
  return /* wgsl */ `
    for (var k0 = 0u; k0 < min(${STREAMED}u, ${tokens}u - j0); k0 += ${taken}u) {
      workgroupBarrier();
      for (var e = lane; e < ${taken * padded}u; e += ${THREADS}u) {
        tile[e] = ${streamed}_at(${rowAt(plan, `(j0 + k0 + e / ${padded}u)`)}, e % ${padded}u);
      }
      workgroupBarrier();
      for (var k = 0u; k < ${taken}u; k += ${COLUMNS}u) {
        ${
    each(
      rows,
      (r) =>
        `let w${r} = weights[(y * ${rows}u + ${r}u) * ${WEIGHTS_STRIDE}u + (k0 + k) / ${COLUMNS}u];`,
    )
  }
        ${
    each(ofThread, (n) =>
      `{
          ${each(COLUMNS, (c) => `let v${c} = tile[(k + ${c}u) * ${padded}u + ${n * SIDE}u + x];`)}
          ${
        each(
          rows,
          (r) =>
            `${name}${r}_${n} += ${range(COLUMNS).map((c) => `w${r}[${c}] * v${c}`).join(" + ")};`,
        )
      }
        }`)
  }
      }
    }`;
}

/** Whether the four weights of owned row r and the streamed ones are dropped. */
export function droppedWgsl(
  { tokens }: AttentionPlan,
  r: number,
  owns: "queries" | "keys",
): string {
  const bits = range(COLUMNS).map((c) => {
    const [query, key] = owns === "queries" ? [`i${r}`, `j[${c}]`] : [`j[${c}]`, `i${r}`];
    return `random_bits(mask, (mask_head * ${tokens}u + ${query}) * ${tokens}u + ${key})`;
  });
  return `vec4<u32>(${bits.join(", ")}) < vec4<u32>(u.threshold)`;
}

/** `value`, but `otherwise` for streamed rows that are none, or that owned row r may not attend to. */
export function presentWgsl(
  { tokens, masksDiagonal }: AttentionPlan,
  r: number,
  value: string,
  otherwise: { absent: string; masked: string },
): string {
  const present = tokens % STREAMED === 0
    ? value
    : `select(vec4<f32>(${otherwise.absent}), ${value}, j < vec4<u32>(${tokens}u))`;
  return masksDiagonal
    ? `select(${present}, vec4<f32>(${otherwise.masked}), j == vec4<u32>(i${r}))`
    : present;
}
