/**
 * WGSL of matrix products, register-tiled and without workgroup memory.
 *
 * A thread owns `rows` x `columns` elements of the output as separate variables (a dynamically
 * indexed private array is slow: its indices are clamped). Three layouts of the operands cover a
 * dense layer and its gradients, so no operand is ever transposed in memory:
 *
 * | layout | output [rows, columns] | a | b |
 * |---|---|---|---|
 * | nn | forward | [rows, inner] | [inner, columns] |
 * | nt | gradient of the input | [rows, inner] | [columns, inner] |
 * | tn | gradient of the kernel | [inner, rows] | [inner, columns] |
 *
 * The plain form reads both operands four elements at a time wherever their rows divide by four.
 * The subgroup form is for adapters that compute on the CPU, where a storage load costs as much as
 * several multiply-adds: the 8 lanes of a workgroup own 8 neighbouring columns, each lane loads an
 * eighth of what all need of `a`, and broadcasts hand it round.
 *
 * Sizes that come from the model (a weight's two dimensions) are constants of the module; sizes
 * that come from the batch are uniforms, so a smaller last batch needs no new pipeline.
 */

export type Layout = "nn" | "nt" | "tn";

/** How the output is cut into threads and workgroups. */
export interface Tile {
  kind: "plain" | "subgroup";
  /** Rows of the output a thread owns; a multiple of 4 (8 in the subgroup form). */
  rows: number;
  /** Columns a thread owns; a multiple of 4 (subgroup: any, each 8 apart). */
  columns: number;
  /** Threads of a workgroup along the columns and the rows; 8 and 1 in the subgroup form. */
  lanes: [number, number];
}

/** What one module computes; equal values mean equal WGSL. */
export interface MatmulCode {
  layout: Layout;
  tile: Tile;
  /** Columns of the output. */
  columns: number;
  /** The summed dimension in layouts nn and nt; in tn it is a uniform, and this is the row count. */
  depth: number;
  /** Layout tn: also sum the columns of b, into a second output. */
  columnSums: boolean;
  /** Declarations of further bindings and functions. */
  declarations: string;
  /** Statements at the start of `main`. */
  prologue: string;
  /**
   * Body of `store(row: u32, column: u32, sum: Value)`, where Value is f32 or vec4<f32> and column
   * that of its first element.
   */
  store: string;
  /** How many bindings stand between b and the outputs. */
  extraInputs: number;
}

/** Elements of one store: 4 where vectors of columns are possible, else 1. */
export function valueWidth(layout: Layout, tile: Tile, columns: number): 1 | 4 {
  return tile.kind === "plain" && layout !== "nt" && columns % 4 === 0 ? 4 : 1;
}

/** Rows and columns that one workgroup computes. */
export function workgroupTile(tile: Tile): { rows: number; columns: number } {
  return { rows: tile.rows * tile.lanes[1], columns: tile.columns * tile.lanes[0] };
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** The module of one matrix product. */
export function matmulWgsl(code: MatmulCode): string {
  const { layout, tile, columns } = code;
  const width = valueWidth(layout, tile, columns);
  const vectors = range(tile.columns / width);
  const rows = range(tile.rows);
  const type = (n: number) => n === 4 ? "vec4<f32>" : "f32";
  const step = stepCode(code, width);
  const group = workgroupTile(tile);
  const ragged = columns % group.columns !== 0;
  const outputs = 2 + code.extraInputs;
  const column = (v: number) =>
    tile.kind === "subgroup" ? `first + ${v * 8}u + lane.x` : `first + ${v * width}u`;
  const whenInside = (v: number, body: string) =>
    ragged ? `if (column${v} < ${columns}u) { ${body} }` : `{ ${body} }`;
  return /* wgsl */ `
alias Value = ${type(width)};
@group(0) @binding(0) var<storage, read> a: array<${type(step.widthA)}>;
@group(0) @binding(1) var<storage, read> b: array<${type(step.widthB)}>;
@group(0) @binding(${outputs}) var<storage, read_write> y: array<Value>;
${
    code.columnSums
      ? `@group(0) @binding(${outputs + 1}) var<storage, read_write> sums: array<Value>;`
      : ""
  }
${code.declarations}
fn store(row: u32, column: u32, sum: Value) {
${code.store}
}
@compute @workgroup_size(${tile.lanes[0]}, ${tile.lanes[1]})
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_id) lane: vec3<u32>,
) {
  let top = workgroup.y * ${group.rows}u${tile.lanes[1] > 1 ? ` + lane.y * ${tile.rows}u` : ""};
  let first = workgroup.x * ${group.columns}u${
    tile.kind === "plain" ? ` + lane.x * ${tile.columns}u` : ""
  };
  ${vectors.map((v) => `let column${v} = ${column(v)};`).join("\n  ")}
  ${code.prologue}
  ${step.setup}
  ${rows.flatMap((r) => vectors.map((v) => `var c${r}_${v} = Value();`)).join("\n  ")}
  ${code.columnSums ? vectors.map((v) => `var s${v} = Value();`).join("\n  ") : ""}
  ${step.loops}
  ${
    rows.map((r) =>
      `if (top + ${r}u < u.rows) {
    ${
        vectors.map((v) => whenInside(v, `store(top + ${r}u, column${v}, c${r}_${v});`)).join(
          "\n    ",
        )
      }
  }`
    ).join("\n  ")
  }
  ${
    code.columnSums
      ? `if (top == 0u) {
    ${
        vectors.map((v) =>
          whenInside(v, `sums[(workgroup.z * ${columns}u + column${v}) / ${width}u] = s${v};`)
        ).join("\n    ")
      }
  }`
      : ""
  }
}
`;
}

interface Steps {
  /** Elements of one load of a and of b. */
  widthA: 1 | 4;
  widthB: 1 | 4;
  /** Addresses that do not change in the loop. */
  setup: string;
  /** The loop over the summed dimension, with its remainder. */
  loops: string;
}

function stepCode(code: MatmulCode, width: 1 | 4): Steps {
  if (code.layout === "tn") {
    return code.tile.kind === "plain" ? tnPlain(code, width) : tnLanes(code);
  }
  return code.tile.kind === "plain" ? plain(code, width) : lanes(code);
}

/** Indices that would leave the matrix are moved to its last element; stores are guarded. */
function clampedColumn(code: MatmulCode, v: number, width: number): string {
  const last = code.columns - width;
  const ragged = code.columns % workgroupTile(code.tile).columns !== 0;
  return ragged ? `min(column${v}, ${last}u)` : `column${v}`;
}

/** Layouts nn and nt, each thread on its own. */
function plain(code: MatmulCode, width: 1 | 4): Steps {
  const { layout, tile, columns, depth } = code;
  const widthA = depth % 4 === 0 ? 4 : 1;
  const widthB = layout === "nt" ? widthA : width;
  const vectors = range(tile.columns / width);
  const rows = range(tile.rows);
  const setup = [
    ...rows.map((r) => `let a${r} = min(top + ${r}u, u.rows - 1u) * ${depth / widthA}u;`),
    ...vectors.map((v) =>
      layout === "nt"
        ? `let b${v} = ${clampedColumn(code, v, 1)} * ${depth / widthB}u;`
        : `let b${v} = ${clampedColumn(code, v, width)} / ${width}u;`
    ),
  ];
  const body: string[] = [];
  if (layout === "nt") {
    body.push(...vectors.map((v) => `let q${v} = b[b${v} + k];`));
    for (const r of rows) {
      body.push(`let p${r} = a[a${r} + k];`);
      for (const v of vectors) {
        body.push(
          widthA === 4
            ? `c${r}_${v} += dot(p${r}, q${v});`
            : `c${r}_${v} = fma(p${r}, q${v}, c${r}_${v});`,
        );
      }
    }
  } else {
    body.push(...rows.map((r) => `let p${r} = a[a${r} + k];`));
    for (const i of range(widthA)) {
      for (const v of vectors) {
        body.push(
          `let q${i}_${v} = b[(k * ${widthA}u + ${i}u) * ${columns / width}u + b${v}];`,
        );
      }
      for (const r of rows) {
        const factor = widthA === 4 ? `p${r}[${i}]` : `p${r}`;
        for (const v of vectors) {
          body.push(`c${r}_${v} = fma(Value(${factor}), q${i}_${v}, c${r}_${v});`);
        }
      }
    }
  }
  return {
    widthA,
    widthB,
    setup: setup.join("\n  "),
    loops: `for (var k = 0u; k < ${depth / widthA}u; k++) {
    ${body.join("\n    ")}
  }`,
  };
}

/** Layout tn, each thread on its own: one row of a and of b a step. */
function tnPlain(code: MatmulCode, width: 1 | 4): Steps {
  const { tile, columns, depth } = code;
  const widthA = depth % 4 === 0 ? 4 : 1;
  const vectors = range(tile.columns / width);
  const parts = range(tile.rows / widthA);
  const setup = [
    ...parts.map((p) => `let a${p} = min(top + ${p * widthA}u, ${depth - widthA}u) / ${widthA}u;`),
    ...vectors.map((v) => `let b${v} = ${clampedColumn(code, v, width)} / ${width}u;`),
    `let begin = workgroup.z * u.chunk;`,
    `let end = min(u.inner, begin + u.chunk);`,
  ];
  const body = [
    ...parts.map((p) => `let p${p} = a[k * ${depth / widthA}u + a${p}];`),
    ...vectors.map((v) => `let q${v} = b[k * ${columns / width}u + b${v}];`),
  ];
  for (const r of range(tile.rows)) {
    const factor = widthA === 4 ? `p${r >> 2}[${r & 3}]` : `p${r}`;
    for (const v of vectors) body.push(`c${r}_${v} = fma(Value(${factor}), q${v}, c${r}_${v});`);
  }
  if (code.columnSums) body.push(...vectors.map((v) => `s${v} += q${v};`));
  return {
    widthA,
    widthB: width,
    setup: setup.join("\n  "),
    loops: `for (var k = begin; k < end; k++) {
    ${body.join("\n    ")}
  }`,
  };
}

/** Layouts nn and nt, the 8 lanes of a workgroup together: 8 steps of the sum at a time. */
function lanes(code: MatmulCode): Steps {
  const { layout, tile, columns, depth } = code;
  const vectors = range(tile.columns);
  const rows = range(tile.rows);
  // In nt a lane reads along its own row of b, so whole vectors can be had.
  const widthB = layout === "nt" && depth % 4 === 0 ? 4 : 1;
  const setup = [
    ...rows.map((r) => `let a${r} = min(top + ${r}u, u.rows - 1u) * ${depth}u + lane.x;`),
    ...vectors.map((v) =>
      layout === "nt"
        ? `let b${v} = ${clampedColumn(code, v, 1)} * ${depth / widthB}u;`
        : `let b${v} = ${clampedColumn(code, v, 1)};`
    ),
  ];
  const chunk = (count: number): string => {
    const body: string[] = [];
    for (const v of vectors) {
      if (widthB === 4) {
        for (const part of range(count / 4)) {
          body.push(`let w${v}_${part} = b[b${v} + k / 4u + ${part}u];`);
        }
      }
      for (const i of range(count)) {
        const value = widthB === 4
          ? `w${v}_${i >> 2}[${i & 3}]`
          : layout === "nt"
          ? `b[b${v} + k + ${i}u]`
          : `b[(k + ${i}u) * ${columns}u + b${v}]`;
        body.push(`let q${i}_${v} = ${value};`);
      }
    }
    for (const r of rows) {
      // Past the end of a row stands the next row or nothing; those lanes are never broadcast.
      body.push(`let p${r} = a[a${r} + k];`);
      for (const i of range(count)) {
        body.push(`let p${r}_${i} = subgroupBroadcast(p${r}, ${i}u);`);
        for (const v of vectors) {
          body.push(`c${r}_${v} = fma(p${r}_${i}, q${i}_${v}, c${r}_${v});`);
        }
      }
    }
    return body.join("\n    ");
  };
  const whole = depth - depth % 8;
  return {
    widthA: 1,
    widthB,
    setup: setup.join("\n  "),
    loops: [
      whole > 0 ? `for (var k = 0u; k < ${whole}u; k += 8u) {\n    ${chunk(8)}\n  }` : "",
      depth % 8 > 0 ? `{\n    let k = ${whole}u;\n    ${chunk(depth % 8)}\n  }` : "",
    ].join("\n  "),
  };
}

/** Layout tn, the 8 lanes of a workgroup together: a lane loads every eighth row's factor. */
function tnLanes(code: MatmulCode): Steps {
  const { tile, columns, depth } = code;
  const vectors = range(tile.columns);
  const parts = range(Math.ceil(tile.rows / 8));
  const setup = [
    ...parts.map((p) => `let a${p} = min(top + ${p * 8}u + lane.x, ${depth - 1}u);`),
    ...vectors.map((v) => `let b${v} = ${clampedColumn(code, v, 1)};`),
    `let begin = workgroup.z * u.chunk;`,
    `let end = min(u.inner, begin + u.chunk);`,
    `let whole = begin + (end - begin) / 4u * 4u;`,
  ];
  const chunk = (count: number): string => {
    const body: string[] = [];
    for (const i of range(count)) {
      for (const v of vectors) {
        body.push(`let q${i}_${v} = b[(k + ${i}u) * ${columns}u + b${v}];`);
        if (code.columnSums) body.push(`s${v} += q${i}_${v};`);
      }
      for (const p of parts) body.push(`let p${i}_${p} = a[(k + ${i}u) * ${depth}u + a${p}];`);
    }
    for (const r of range(tile.rows)) {
      for (const i of range(count)) {
        body.push(`let f${r}_${i} = subgroupBroadcast(p${i}_${r >> 3}, ${r & 7}u);`);
        for (const v of vectors) {
          body.push(`c${r}_${v} = fma(f${r}_${i}, q${i}_${v}, c${r}_${v});`);
        }
      }
    }
    return body.join("\n    ");
  };
  return {
    widthA: 1,
    widthB: 1,
    setup: setup.join("\n  "),
    loops: `var k = begin;
  for (; k < whole; k += 4u) {
    ${chunk(4)}
  }
  for (; k < end; k++) {
    ${chunk(1)}
  }`,
  };
}
