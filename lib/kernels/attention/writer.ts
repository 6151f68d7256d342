/**
 * Writes the WGSL text that the three attention kernels share: bindings, who owns which rows, the
 * loop over the other side's rows, and vector loads for heads of any width.
 */
import { randomWgsl } from "../../random.ts";
import { gridMainWgsl, gridWgsl } from "../grid.ts";

/** Threads of a workgroup. */
export const LANES = 64;

/** What the text of a kernel depends on. */
export interface AttentionPlan {
  tokens: number;
  numHeads: number;
  keyDim: number;
  drops: boolean;
  /** Rows that a thread owns. */
  rows: number;
  /** Rows of the other side that are taken at once. */
  columns: number;
}

/** The pieces of text of one plan. */
export class Writer {
  readonly vectors: number;
  private readonly wide: boolean;
  private readonly unit: number;

  constructor(readonly plan: AttentionPlan) {
    this.vectors = Math.ceil(plan.keyDim / 4);
    this.wide = plan.keyDim % 4 === 0;
    this.unit = this.wide ? this.vectors : plan.keyDim;
  }

  /** `text` for 0..count-1, a line each. */
  each(count: number, text: (i: number) => string): string {
    return Array.from({ length: count }, (_, i) => text(i)).join("\n");
  }
  rows(text: (row: number) => string): string {
    return this.each(this.plan.rows, text);
  }
  columns(text: (column: number) => string): string {
    return this.each(this.plan.columns, text);
  }
  dims(text: (vector: number) => string): string {
    return this.each(this.vectors, text);
  }

  /** Where the head's row `i` begins. */
  base(i: string): string {
    return `head_base + ${i} * ${this.plan.numHeads * this.unit}u`;
  }

  load(buffer: string, base: string, d: number): string {
    if (this.wide) return `${buffer}[${base} + ${d}u]`;
    const parts = [0, 1, 2, 3].map((lane) => {
      const at = 4 * d + lane;
      return at < this.plan.keyDim ? `${buffer}[${base} + ${at}u]` : "0.0";
    });
    return `vec4<f32>(${parts.join(", ")})`;
  }

  store(buffer: string, base: string, d: number, value: string): string {
    if (this.wide) return `${buffer}[${base} + ${d}u] = ${value};`;
    return ["x", "y", "z", "w"].flatMap((lane, i) => {
      const at = 4 * d + i;
      return at < this.plan.keyDim ? [`${buffer}[${base} + ${at}u] = (${value}).${lane};`] : [];
    }).join(" ");
  }

  /** Whether the weight at query `i` and key `j` is dropped. */
  dropped(i: string, j: string): string {
    const { tokens } = this.plan;
    return `random_bits(mask, (head * ${tokens}u + ${i}) * ${tokens}u + ${j}) < u.threshold`;
  }

  /** Bindings and the start of main: `head`, `head_base`, the owned rows `i0`, `i1`, ... */
  open(buffers: [name: string, type: string | null, access: "read" | "read_write"][]): string {
    const { tokens, numHeads, rows } = this.plan;
    const type = this.wide ? "vec4<f32>" : "f32";
    const blocks = Math.ceil(tokens / rows);
    const bindings = buffers.map(([name, own, access], at) =>
      `@group(0) @binding(${at}) var<storage, ${access}> ${name}: array<${own ?? type}>;`
    ).join("\n");
    return /* wgsl */ `
struct Uniforms { threads: u32, stream: u32, threshold: u32, keep_scale: f32 }
${bindings}
@group(0) @binding(${buffers.length}) var<uniform> u: Uniforms;
${this.plan.drops ? randomWgsl : ""}${gridWgsl}
${gridMainWgsl(LANES)} {
  let thread = block_of(workgroup, workgroups) * ${LANES}u + lane;
  if (thread >= u.threads) { return; }
  let head = thread / ${blocks}u;
  let first = (thread % ${blocks}u) * ${rows}u;
  let image = head / ${numHeads}u;
  let head_base = (image * ${tokens * numHeads}u + head % ${numHeads}u) * ${this.unit}u;
${
      this.rows((r) => `
  let i${r} = min(first + ${r}u, ${tokens - 1}u);
  let own${r} = ${this.base(`i${r}`)};`)
    }`;
  }

  /** The loop over the other side's rows; within, `j0`, `j1`, ... and their bases `other0`, ... */
  stream(body: string): string {
    const { tokens, columns } = this.plan;
    const last = tokens % columns === 0 ? null : tokens - 1;
    return /* wgsl */ `
  for (var j0 = 0u; j0 < ${tokens}u; j0 += ${columns}u) {
${
      this.columns((c) => `
    ${c === 0 ? "" : `let j${c} = ${last === null ? `j0 + ${c}u` : `min(j0 + ${c}u, ${last}u)`};`}
    let other${c} = ${this.base(`j${c}`)};`)
    }
${body}
  }`;
  }

  /** `value`, but `otherwise` for a column beyond the last token, when there can be one. */
  present(c: number, value: string, otherwise: string): string {
    const { tokens, columns } = this.plan;
    if (c === 0 || tokens % columns === 0) return value;
    return `select(${otherwise}, ${value}, j0 + ${c}u < ${tokens}u)`;
  }

  /** Statements for the owned rows that exist. */
  close(text: (row: number) => string): string {
    const guarded = this.plan.tokens % this.plan.rows !== 0;
    return this.rows((r) =>
      guarded && r > 0 ? `if (first + ${r}u < ${this.plan.tokens}u) { ${text(r)} }` : text(r)
    ) + "\n}\n";
  }
}
