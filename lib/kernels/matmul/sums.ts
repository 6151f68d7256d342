/**
 * WGSL of the sums of a matrix product: statements that add up the variables `c<row>_<vector>` of a
 * thread. What they find declared around them, `wgsl.ts` shows.
 *
 * The plain form reads both operands four elements at a time wherever their rows divide by four. The
 * subgroup form is for adapters that compute on the CPU, where a storage load costs as much as many
 * multiply-adds: the 8 lanes of a subgroup own neighbouring columns, each lane loads an eighth of
 * what all need of `a`, and broadcasts hand it round. The shared form, for GPUs, keeps the tiles of
 * both operands in workgroup memory.
 */
import { type MatmulCode, operandOf, range, typeOf, type Width } from "./code.ts";
import { workgroupTile } from "./tiles.ts";

/**
 * Subgroups of one workgroup wait for each other every so many steps: then they read the same rows
 * of b at about the same time, each its own columns, so pages and prefetched lines serve them all.
 * Apart from it they would walk through all of b one after the other.
 */
const STEP_TOGETHER = 32;

/** The sum of one part in layouts nn and nt: a's rows run along it. */
export function alongRows(code: MatmulCode, part: number): string {
  const { layout, tile, widthA, width, windows } = code;
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
  const a = operandOf(code, "a", part);
  if (!subgroup) {
    for (const r of rows) {
      const row = `min(top + ${r}u, u.rows - 1u)`;
      setup.push(
        windows
          ? `let row${r} = window_start(${row}) / ${widthA}u;`
          : `let row${r} = ${row} * (u.depth / ${widthA}u);`,
      );
      const step = windows ? "window_element(k)" : "k";
      body.push(`let p${r} = ${a}[row${r} + ${step} / ${widthA}u];`);
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
      const row = `min(top + ${load * rowsPerLoad}u + lane.x / ${lanesPerRow}u, u.rows - 1u)`;
      setup.push(
        windows
          ? `let row${load} = window_start(${row});`
          : `let row${load} = ${row} * u.depth + mine;`,
      );
    }
    body.push(`let valid = k + mine < u.depth;`);
    if (windows) body.push(`let element = window_element(k + mine);`);
    const step = windows ? "element" : "k";
    for (const load of range(tile.rows / rowsPerLoad)) {
      body.push(
        `let p${load} = select(${typeOf(widthA)}(), ` +
          `${a}[(row${load} + ${step}) / ${widthA}u], valid);`,
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
    ${
    subgroup && tile.lanes[1] > 1 ? `if (k % ${STEP_TOGETHER}u == 0u) { workgroupBarrier(); }` : ""
  }
    ${body.join("\n    ")}
  }`;
}

function stepIndex(clamped: boolean, offset: number, width: Width): string {
  const step = clamped ? `min(k + ${offset}u, u.depth - ${width}u)` : `(k + ${offset}u)`;
  return `${step} / ${width}u`;
}

/** Layout tn: each step of the sum is one row of a and one of b; a split of them takes `u.chunk`. */
export function overRows(code: MatmulCode, output: number): string {
  const { tile, widthA, width, columnSums, windows } = code;
  const values = range(tile.columns / width);
  const subgroup = tile.kind === "subgroup";
  const steps = subgroup ? 4 : 1;
  // Rows of the output that one load of a covers.
  const reach = subgroup ? Math.min(tile.rows, 8 * widthA) : widthA;
  const loads = range(tile.rows / reach);
  const setup = [
    ...loads.map((load) => {
      const k = `min(top + ${load * reach}u${subgroup ? ` + lane.x * ${widthA}u` : ""}, ` +
        `u.rows - ${widthA}u)`;
      return `let at_a${load} = ${windows ? `window_element(${k})` : k} / ${widthA}u;`;
    }),
    ...values.map((v) => `let from${v} = inside${v} / ${width}u;`),
    `let end = min(u.depth, (slice + 1u) * u.chunk);`,
  ];
  const body: string[] = [];
  for (const i of range(steps)) {
    body.push(
      subgroup ? `let row${i} = min(k + ${i}u, end - 1u);` : `let row${i} = k;`,
      ...loads.map((load) => {
        const start = windows
          ? `window_start(row${i}) / ${widthA}u`
          : `row${i} * (u.rows / ${widthA}u)`;
        const loaded = `a0[${start} + at_a${load}]`;
        return `let p${i}_${load} = ${
          i === 0 ? loaded : `select(${typeOf(widthA)}(), ${loaded}, k + ${i}u < end)`
        };`;
      }),
      `let at${i} = ${windows ? `row_of_b(row${i})` : `row${i}`} * (u.columns / ${width}u);`,
      ...values.map((v) => `let q${i}_${v} = b${output}[at${i} + from${v}];`),
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
  for (var k = slice * u.chunk; k < end; k += ${steps}u) {
    ${body.join("\n    ")}
  }`;
}

/** Steps of the sum that a workgroup holds in its memory. */
const DEPTH = 16;

/** Sizes of the workgroup's memory; a row more than needed where it is written across. */
function sharedSizes({ tile, layout }: MatmulCode) {
  const group = workgroupTile(tile);
  return {
    strideA: group.rows + (layout === "tn" ? 0 : 1),
    strideB: group.columns + (layout === "nt" ? 1 : 0),
  };
}

/** Declares the workgroup's memory: for each step, the rows of a and the columns of b. */
export function sharedMemory(code: MatmulCode): string {
  const { strideA, strideB } = sharedSizes(code);
  const [type, width] = code.layout === "nt" ? ["f32", 1] : ["Value", code.width];
  return `var<workgroup> tile_a: array<f32, ${DEPTH * strideA}>;
var<workgroup> tile_b: array<${type}, ${DEPTH * strideB / width}>;`;
}

/** The sum of one part in any layout: a workgroup loads what its threads share into its memory. */
export function sharedSum(code: MatmulCode, part: number): string {
  const { layout, tile, widthA, width, columnSums, windows } = code;
  const group = workgroupTile(tile);
  const threads = tile.lanes[0] * tile.lanes[1];
  const { strideA, strideB } = sharedSizes(code);
  const values = range(tile.columns / width);
  const [left, down] = code.downFirst ? ["y", "x"] : ["x", "y"];
  const body: string[] = [];

  // Each thread takes the loads flat, flat + threads, … of the `size` x DEPTH elements of a tile.
  const fill = (size: number, load: Width, statements: string[]) => {
    const loads = size * DEPTH / load;
    for (let first = 0; first < loads; first += threads) {
      const some = first + threads > loads ? `if (flat < ${loads - first}u) ` : "";
      body.push(`${some}{ let i = ${first}u + flat; ${statements.join(" ")} }`);
    }
  };
  const loaded = (operand: "a" | "b", load: Width, index: string) => [
    `let at = (${index}) / ${load}u;`,
    `let loaded = select(${typeOf(load)}(), ${operandOf(code, operand, part)}[at], ` +
    `k + step < end);`,
  ];
  /** Where a row's element lies. */
  const placeOf = (operand: "a" | "b", row: string, length: string, at: string) => {
    if (!windows) return `${row} * ${length} + ${at}`;
    if (operand === "a") return `window_start(${row}) + window_element(${at})`;
    return `${layout === "tn" ? `row_of_b(${row})` : row} * ${length} + ${at}`;
  };
  /** Element e of what was loaded. */
  const element = (e: number, load: Width) => load === 4 ? `loaded[${e}]` : "loaded";
  /** The matrix's rows run along the sum: the elements of a load belong to as many steps. */
  const along = (operand: "a" | "b", size: number, stride: number, from: string, count: string) =>
    fill(size, widthA, [
      `let row = i / ${DEPTH / widthA}u;`,
      `let step = i % ${DEPTH / widthA}u * ${widthA}u;`,
      ...loaded(
        operand,
        widthA,
        placeOf(
          operand,
          `min(${from} + row, ${count} - 1u)`,
          "u.depth",
          `min(k + step, u.depth - ${widthA}u)`,
        ),
      ),
      ...range(widthA).map((e) =>
        `tile_${operand}[(step + ${e}u) * ${stride}u + row] = ${element(e, widthA)};`
      ),
    ]);
  /** Each row of the matrix is one step. */
  const across = (operand: "a" | "b", load: Width, size: number, from: string, count: string) => [
    `let step = i / ${size / load}u;`,
    `let c = i % ${size / load}u * ${load}u;`,
    ...loaded(
      operand,
      load,
      placeOf(
        operand,
        "min(k + step, u.depth - 1u)",
        count,
        `min(${from} + c, ${count} - ${load}u)`,
      ),
    ),
  ];

  if (layout === "tn") {
    fill(group.rows, widthA, [
      ...across("a", widthA, group.rows, "group_top", "u.rows"),
      ...range(widthA).map((e) =>
        `tile_a[step * ${strideA}u + c + ${e}u] = ${element(e, widthA)};`
      ),
    ]);
  } else along("a", group.rows, strideA, "group_top", "u.rows");
  if (layout === "nt") along("b", group.columns, strideB, "group_left", "u.columns");
  else {
    fill(group.columns, width, [
      ...across("b", width, group.columns, "group_left", "u.columns"),
      `tile_b[(step * ${strideB}u + c) / ${width}u] = loaded;`,
    ]);
  }

  const multiply: string[] = [];
  for (const v of values) {
    const column = `step * ${strideB}u + lane.x * ${tile.columns}u + ${v * width}u`;
    multiply.push(
      layout === "nt"
        ? `let q${v} = Value(${range(width).map((e) => `tile_b[${column} + ${e}u]`).join(", ")});`
        : `let q${v} = tile_b[(${column}) / ${width}u];`,
    );
    if (columnSums) multiply.push(`sum${v} += q${v};`);
  }
  for (const r of range(tile.rows)) {
    multiply.push(
      `let f${r} = Value(tile_a[step * ${strideA}u + lane.y * ${tile.rows}u + ${r}u]);`,
      ...values.map((v) => `c${r}_${v} = fma(f${r}, q${v}, c${r}_${v});`),
    );
  }
  return `let flat = lane.y * ${tile.lanes[0]}u + lane.x;
  let group_top = workgroup.${down} * ${group.rows}u;
  let group_left = workgroup.${left} * ${group.columns}u;
  let end = ${layout === "tn" ? "min(u.depth, (slice + 1u) * u.chunk)" : "u.depth"};
  for (var k = ${layout === "tn" ? "slice * u.chunk" : "0u"}; k < end; k += ${DEPTH}u) {
    ${body.join("\n    ")}
    workgroupBarrier();
    for (var step = 0u; step < ${DEPTH}u; step++) {
      ${multiply.join("\n      ")}
    }
    workgroupBarrier();
  }`;
}
