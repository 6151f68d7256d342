/** What both WGSL forms of layer normalization share. */

/** Elements of one load, their WGSL type, and the sum of one. */
export interface RowType {
  width: 1 | 4;
  type: string;
  sum: (value: string) => string;
}

/** A row is read in vectors where its length allows it. */
export function rowType(dim: number): RowType {
  return dim % 4 === 0
    ? { width: 4, type: "vec4<f32>", sum: (v) => `dot(${v}, vec4<f32>(1.0))` }
    : { width: 1, type: "f32", sum: (v) => v };
}

/** Bindings of the forward kernel. */
export function forwardBindings(type: string): string {
  return /* wgsl */ `
struct Uniforms { rows: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> x: array<${type}>;
@group(0) @binding(1) var<storage, read> gamma: array<${type}>;
@group(0) @binding(2) var<storage, read> beta: array<${type}>;
@group(0) @binding(3) var<storage, read_write> y: array<${type}>;
@group(0) @binding(4) var<storage, read_write> moments: array<vec2<f32>>;
@group(0) @binding(5) var<uniform> u: Uniforms;
`;
}

/** Bindings of the backward kernel, with a gradient of the residual that is added or without. */
export function backwardBindings(type: string, residual: boolean): string {
  const outputs = residual ? 5 : 4;
  return /* wgsl */ `
struct Uniforms { rows: u32, row_blocks: u32, chunks: u32, chunk_rows: u32 }
@group(0) @binding(0) var<storage, read> dy: array<${type}>;
@group(0) @binding(1) var<storage, read> x: array<${type}>;
@group(0) @binding(2) var<storage, read> gamma: array<${type}>;
@group(0) @binding(3) var<storage, read> moments: array<vec2<f32>>;
${residual ? `@group(0) @binding(4) var<storage, read> added: array<${type}>;` : ""}
@group(0) @binding(${outputs}) var<storage, read_write> dx: array<${type}>;
@group(0) @binding(${outputs + 1}) var<storage, read_write> d_gamma: array<${type}>;
@group(0) @binding(${outputs + 2}) var<storage, read_write> d_beta: array<${type}>;
@group(0) @binding(${outputs + 3}) var<uniform> u: Uniforms;
`;
}
