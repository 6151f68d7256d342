/**
 * WGSL of matrix products, register-tiled and without workgroup memory.
 *
 * Three layouts of the operands cover a dense layer and its gradients, so no operand is ever
 * transposed in memory; `depth` is the dimension that is summed:
 *
 * | layout | output [rows, columns] | a | b |
 * |---|---|---|---|
 * | nn | forward | [rows, depth] | [depth, columns] |
 * | nt | gradient of the input | [rows, depth] | [columns, depth] |
 * | tn | gradient of the kernel | [depth, rows] | [depth, columns] |
 *
 * Several products can be one module, by `parts`: in nn and tn several b's meet one a, each with an
 * output of its own; in nt several products of a and b are added up in one output. The outputs are
 * spread over the workgroups, or on the CPU made one after the other: a branch costs more there
 * than it gives. (To make them at once would save loads of a, but LLVM takes half a minute to
 * compile that many accumulators.)
 *
 * A thread owns `rows` x `columns` elements of the output, each in a variable of its own: a private
 * array's dynamic indices are clamped, so one appears only after the sum, where a loop keeps the
 * code of the epilogue small. The plain form reads both operands four elements at a time wherever
 * their rows divide by four. The subgroup form is for adapters that compute on the CPU, where a
 * storage load costs as much as many multiply-adds: the 8 lanes of a workgroup own neighbouring
 * columns, each lane loads an eighth of what all need of `a`, and broadcasts hand it round.
 *
 * All sizes are uniforms, so one pipeline serves every shape of its kind.
 */

export type Layout = "nn" | "nt" | "tn";

/** How the output is cut into threads and workgroups. */
export interface Tile {
  kind: "plain" | "subgroup";
  /** Rows of the output a thread owns; a multiple of 4. */
  rows: number;
  /** Columns a thread owns; a multiple of 4. */
  columns: number;
  /** Threads of a workgroup along the columns and the rows; 8 and 1 in the subgroup form. */
  lanes: [number, number];
}

/** Elements of one load: 4 where the row length of the matrix divides by four, else 1. */
export type Width = 1 | 4;

/** What one module computes; equal values mean equal WGSL. */
export interface MatmulCode {
  layout: Layout;
  tile: Tile;
  /** The width of a's rows, and of b's in nt. */
  widthA: Width;
  /** The width of the output's rows, and of b's in nn and tn. */
  width: Width;
  /** nn and tn: b's and outputs; nt: pairs of a and b. */
  parts: number;
  /** The gradient's operand (a in nt, b in tn) is multiplied by a factor as it is read. */
  scaled: boolean;
  /** Layout tn: also sum b's columns. */
  columnSums: boolean;
  /** Names and types of what is bound after the operands. */
  extraInputs: [name: string, type: string][];
  /** Names of more outputs of Value. */
  extraOutputs: string[];
  /**
   * Declarations of functions and of the uniform's type `Uniforms`, which must have the fields rows,
   * columns, depth and chunk; the uniform itself is `u`.
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

/** The operands in the order of their bindings: all a's, all b's, all factors; then the outputs. */
function bindings(code: MatmulCode): string {
  const { layout, parts, width } = code;
  const nt = layout === "nt";
  const typeA = typeOf(code.widthA);
  const typeB = typeOf(nt ? code.widthA : width);
  const inputs = [
    ...range(nt ? parts : 1).map((p) => [`a${p}`, typeA]),
    ...range(parts).map((p) => [`b${p}`, typeB]),
    ...range(code.scaled ? parts : 0).map((p) => [`factor${p}`, nt ? typeA : typeB]),
    ...code.extraInputs,
  ].map(([name, type]) => `var<storage, read> ${name}: array<${type}>;`);
  const outputs = [
    ...outputsOf(code).map((p) => `y${p}`),
    ...(code.columnSums ? range(parts).map((p) => `sums${p}`) : []),
    ...code.extraOutputs,
  ].map((name) => `var<storage, read_write> ${name}: array<Value>;`);
  return [...inputs, ...outputs, "var<uniform> u: Uniforms;"]
    .map((line, binding) => `@group(0) @binding(${binding}) ${line}`).join("\n");
}

const outputsOf = ({ layout, parts }: MatmulCode): number[] => range(layout === "nt" ? 1 : parts);

/** Rows and columns that one workgroup computes. */
export function workgroupTile(tile: Tile): { rows: number; columns: number } {
  return { rows: tile.rows * tile.lanes[1], columns: tile.columns * tile.lanes[0] };
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const typeOf = (width: Width): string => width === 4 ? "vec4<f32>" : "f32";

/** How many times the grid's third dimension must repeat for all outputs to be made. */
export function gridParts({ layout, parts, tile }: Pick<MatmulCode, "layout" | "parts" | "tile">) {
  return layout === "nt" || tile.kind === "subgroup" ? 1 : parts;
}

/** The module of matrix products. */
export function matmulWgsl(code: MatmulCode): string {
  const { tile, width } = code;
  const values = range(tile.columns / width);
  const group = workgroupTile(tile);
  // What follows each other shares the operand that is long: in tn a strip of b, else rows of a.
  const [across, down] = code.layout === "tn"
    ? ["workgroup.y", "workgroup.x"]
    : ["workgroup.x", "workgroup.y"];
  const columnOf = (v: number) =>
    tile.kind === "subgroup"
      ? `${across} * ${group.columns}u + ${v * 8 * width}u + lane.x * ${width}u`
      : `${across} * ${group.columns}u + lane.x * ${tile.columns}u + ${v * width}u`;
  const outputs = outputsOf(code);
  const spread = gridParts(code);
  const bodies = outputs.map((output) => outputWgsl(code, output));
  return /* wgsl */ `
alias Value = ${typeOf(width)};
var<private> split: u32;
${code.declarations}
${bindings(code)}
${
    outputs.map((output) =>
      `fn store${output}(row: u32, column: u32, sum: Value) {\n${code.store(output)}\n}`
    ).join("\n")
  }
@compute @workgroup_size(${tile.lanes[0]}, ${tile.lanes[1]})
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_id) lane: vec3<u32>,
) {
  ${code.prologue}
  split = workgroup.z / ${spread}u;
  let top = ${down} * ${group.rows}u + lane.y * ${tile.rows}u;
  ${values.map((v) => `let column${v} = ${columnOf(v)};`).join("\n  ")}
  // Indices outside the matrix read its last element instead; what they give is never stored.
  ${values.map((v) => `let inside${v} = min(column${v}, u.columns - ${width}u);`).join("\n  ")}
  ${
    spread === 1
      ? bodies.map((body) => `{\n  ${body}\n  }`).join("\n  ")
      : `switch (workgroup.z % ${spread}u) {
    ${bodies.map((body, output) => `case ${output}u: {\n  ${body}\n  }`).join("\n  ")}
    default: {}
  }`
  }
}
`;
}

/** The statements that compute and store a thread's tile of one output. */
function outputWgsl(code: MatmulCode, output: number): string {
  const { tile, width, layout, columnSums } = code;
  const values = range(tile.columns / width);
  const rows = range(tile.rows);
  return `${rows.flatMap((r) => values.map((v) => `var c${r}_${v} = Value();`)).join("\n  ")}
  ${columnSums ? values.map((v) => `var sum${v} = Value();`).join("\n  ") : ""}
  ${
    layout === "tn"
      ? overRows(code, output)
      : layout === "nn"
      ? alongRows(code, output)
      : range(code.parts).map((part) => `{ ${alongRows(code, part)} }`).join("\n  ")
  }
  var all: array<Value, ${rows.length * values.length}>;
  ${
    rows.flatMap((r) => values.map((v) => `all[${r * values.length + v}] = c${r}_${v};`))
      .join("\n  ")
  }
  for (var r = 0u; r < min(${tile.rows}u, u.rows - min(top, u.rows)); r++) {
    ${
    values.map((v) =>
      `if (column${v} < u.columns) ` +
      `{ store${output}(top + r, column${v}, all[r * ${values.length}u + ${v}u]); }`
    ).join("\n    ")
  }
  }
  ${
    columnSums
      ? `if (top == 0u) {
    ${
        values.map((v) =>
          `if (column${v} < u.columns) ` +
          `{ sums${output}[(split * u.columns + column${v}) / ${width}u] = sum${v}; }`
        ).join("\n    ")
      }
  }`
      : ""
  }`;
}

/** The sum of one part in layouts nn and nt: a's rows run along it. */
function alongRows(code: MatmulCode, part: number): string {
  const { layout, tile, widthA, width } = code;
  const values = range(tile.columns / width);
  const columns = range(tile.columns);
  const rows = range(tile.rows);
  const subgroup = tile.kind === "subgroup";
  // A subgroup advances 8 steps at a time and zeroes a beyond the end, a thread by one load of a.
  const steps = subgroup ? 8 : widthA;
  const setup: string[] = [];
  const body: string[] = [];

  if (layout === "nt") {
    setup.push(
      ...columns.map((c) =>
        `let start${c} = (inside${Math.floor(c / width)} + ${c % width}u) * u.depth / ${widthA}u;`
      ),
    );
    // Row of b by row of b, then regrouped into one value for each step.
    for (const c of columns) {
      for (const load of range(steps / widthA)) {
        const index = stepIndex(subgroup, load * widthA, widthA);
        body.push(`let w${c}_${load} = b${part}[start${c} + ${index}];`);
      }
    }
    for (const i of range(steps)) {
      for (const v of values) {
        const parts = range(width).map((j) => {
          const loaded = `w${v * width + j}_${Math.floor(i / widthA)}`;
          return widthA === 4 ? `${loaded}[${i % 4}]` : loaded;
        });
        body.push(`let q${i}_${v} = Value(${parts.join(", ")});`);
      }
    }
  } else {
    setup.push(...values.map((v) => `let from${v} = inside${v} / ${width}u;`));
    for (const i of range(steps)) {
      const row = subgroup ? `min(k + ${i}u, u.depth - 1u)` : `(k + ${i}u)`;
      body.push(`let at${i} = ${row} * (u.columns / ${width}u);`);
      body.push(
        ...values.map((v) => `let q${i}_${v} = b${part}[at${i} + from${v}];`),
      );
    }
  }

  const multiply = (r: number, i: number, factor: string) => {
    body.push(`let f${r}_${i} = Value(${factor});`);
    body.push(...values.map((v) => `c${r}_${v} = fma(f${r}_${i}, q${i}_${v}, c${r}_${v});`));
  };
  const loadA = (index: string) => {
    if (layout === "nn") return `a0[${index}]`;
    return code.scaled ? `a${part}[${index}] * factor${part}[${index}]` : `a${part}[${index}]`;
  };
  if (!subgroup) {
    for (const r of rows) {
      setup.push(`let row${r} = min(top + ${r}u, u.rows - 1u) * (u.depth / ${widthA}u);`);
      body.push(`let p${r} = ${loadA(`row${r} + k / ${widthA}u`)};`);
    }
    for (const i of range(steps)) {
      for (const r of rows) multiply(r, i, widthA === 4 ? `p${r}[${i}]` : `p${r}`);
    }
  } else {
    // One load of the subgroup covers 4 rows x 2 vectors, or 1 row x 8 elements.
    const rowsPerLoad = widthA;
    const lanesPerRow = 8 / rowsPerLoad;
    setup.push(`let mine = lane.x % ${lanesPerRow}u * ${widthA}u;`);
    for (const load of range(tile.rows / rowsPerLoad)) {
      setup.push(
        `let row${load} = min(top + ${
          load * rowsPerLoad
        }u + lane.x / ${lanesPerRow}u, u.rows - 1u)` +
          ` * u.depth + mine;`,
      );
    }
    body.push(`let valid = k + mine < u.depth;`);
    for (const load of range(tile.rows / rowsPerLoad)) {
      body.push(
        `let p${load} = select(${typeOf(widthA)}(), ` +
          `${loadA(`(row${load} + k) / ${widthA}u`)}, valid);`,
      );
      for (const r of range(rowsPerLoad)) {
        for (const i of range(8)) {
          const component = widthA === 4 ? `p${load}[${i % 4}]` : `p${load}`;
          const lane = r * lanesPerRow + Math.floor(i / widthA);
          multiply(load * rowsPerLoad + r, i, `subgroupBroadcast(${component}, ${lane}u)`);
        }
      }
    }
  }
  return `${setup.join("\n  ")}
  for (var k = 0u; k < u.depth; k += ${steps}u) {
    ${body.join("\n    ")}
  }`;
}

function stepIndex(clamped: boolean, offset: number, width: Width): string {
  const step = clamped ? `min(k + ${offset}u, u.depth - ${width}u)` : `(k + ${offset}u)`;
  return `${step} / ${width}u`;
}

/** Layout tn: each step of the sum is one row of a and one of b; a split of them takes `u.chunk`. */
function overRows(code: MatmulCode, output: number): string {
  const { tile, widthA, width, columnSums, scaled } = code;
  const values = range(tile.columns / width);
  const subgroup = tile.kind === "subgroup";
  const loadB = (index: string) =>
    scaled ? `b${output}[${index}] * factor${output}[${index}]` : `b${output}[${index}]`;
  const steps = subgroup ? 4 : 1;
  // Rows of the output that one load of a covers.
  const reach = subgroup ? Math.min(tile.rows, 8 * widthA) : widthA;
  const loads = range(tile.rows / reach);
  const setup = [
    ...loads.map((load) =>
      `let at_a${load} = min(top + ${load * reach}u${subgroup ? ` + lane.x * ${widthA}u` : ""}, ` +
      `u.rows - ${widthA}u) / ${widthA}u;`
    ),
    ...values.map((v) => `let from${v} = inside${v} / ${width}u;`),
    `let end = min(u.depth, (split + 1u) * u.chunk);`,
  ];
  const body: string[] = [];
  for (const i of range(steps)) {
    body.push(
      subgroup ? `let row${i} = min(k + ${i}u, end - 1u);` : `let row${i} = k;`,
      ...loads.map((load) => {
        const loaded = `a0[row${i} * (u.rows / ${widthA}u) + at_a${load}]`;
        return `let p${i}_${load} = ${
          i === 0 ? loaded : `select(${typeOf(widthA)}(), ${loaded}, k + ${i}u < end)`
        };`;
      }),
      `let at${i} = row${i} * (u.columns / ${width}u);`,
      ...values.map((v) => `let q${i}_${v} = ${loadB(`at${i} + from${v}`)};`),
    );
    if (columnSums) {
      body.push(
        ...values.map((v) =>
          `sum${v} += ${i === 0 ? `q${i}_${v}` : `select(Value(), q${i}_${v}, k + ${i}u < end)`};`
        ),
      );
    }
  }
  for (const r of range(tile.rows)) {
    for (const i of range(steps)) {
      const load = Math.floor(r / reach);
      const component = widthA === 4 ? `p${i}_${load}[${r % 4}]` : `p${i}_${load}`;
      const factor = subgroup
        ? `subgroupBroadcast(${component}, ${Math.floor((r % reach) / widthA)}u)`
        : component;
      body.push(`let f${r}_${i} = Value(${factor});`);
      body.push(...values.map((v) => `c${r}_${v} = fma(f${r}_${i}, q${i}_${v}, c${r}_${v});`));
    }
  }
  return `${setup.join("\n  ")}
  for (var k = split * u.chunk; k < end; k += ${steps}u) {
    ${body.join("\n    ")}
  }`;
}
