/**
 * WGSL of matrix products, register-tiled.
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
 * code of the epilogue small. How the sum is made is in `sums.ts`; every form adds up along
 * `depth` in the same order by fma, so the choice of a tile changes no bit of the result.
 *
 * All sizes are uniforms, so one pipeline serves every shape of its kind.
 */
import { alongRows, overRows, sharedMemory, sharedSum } from "./sums.ts";
import { type MatmulCode, range, typeOf } from "./code.ts";
import { workgroupTile } from "./tiles.ts";

/** The operands in the order of their bindings: all a's, all b's; then the outputs. */
function bindings(code: MatmulCode): string {
  const { layout, parts, width } = code;
  const nt = layout === "nt";
  const typeA = typeOf(code.widthA);
  const typeB = typeOf(nt ? code.widthA : width);
  const inputs = [
    ...range(nt ? parts : 1).map((p) => [`a${p}`, typeA]),
    ...range(parts).map((p) => [`b${p}`, typeB]),
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

/** Repeats of the grid's third dimension that make all outputs. */
export function gridParts({ layout, parts, tile }: Pick<MatmulCode, "layout" | "parts" | "tile">) {
  return layout === "nt" || tile.kind === "subgroup" ? 1 : parts;
}

/** The module of matrix products. */
export function matmulWgsl(code: MatmulCode): string {
  const { tile, width } = code;
  const values = range(tile.columns / width);
  const group = workgroupTile(tile);
  const [across, down] = code.downFirst
    ? ["workgroup.y", "workgroup.x"]
    : ["workgroup.x", "workgroup.y"];
  const columnOf = (v: number) =>
    tile.kind === "subgroup"
      ? `${across} * ${group.columns}u + lane.y * ${8 * tile.columns}u + ` +
        `${v * 8 * width}u + lane.x * ${width}u`
      : `${across} * ${group.columns}u + lane.x * ${tile.columns}u + ${v * width}u`;
  const outputs = outputsOf(code);
  const spread = gridParts(code);
  const bodies = outputs.map((output) => outputWgsl(code, output));
  return /* wgsl */ `
alias Value = ${typeOf(width)};
var<private> split: u32;
${code.tile.kind === "shared" ? sharedMemory(code) : ""}
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
  let slice = workgroup.z / ${spread}u;
  split = slice;
  let top = ${down} * ${group.rows}u${tile.kind === "subgroup" ? "" : ` + lane.y * ${tile.rows}u`};
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
  const sum = tile.kind === "shared" ? sharedSum : layout === "tn" ? overRows : alongRows;
  const values = range(tile.columns / width);
  const rows = range(tile.rows);
  return `${rows.flatMap((r) => values.map((v) => `var c${r}_${v} = Value();`)).join("\n  ")}
  ${columnSums ? values.map((v) => `var sum${v} = Value();`).join("\n  ") : ""}
  ${
    layout === "nt"
      ? range(code.parts).map((part) => `{ ${sum(code, part)} }`).join("\n  ")
      : sum(code, output)
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
