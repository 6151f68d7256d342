/**
 * Turns the templates of the three attention kernels of `wgsl.ts` into WGSL: what they share
 * (bindings, who owns which rows, the loop over the other side's rows), and the copies that the
 * compiler should not make.
 *
 * A template is WGSL in which `#` marks what is replaced here:
 *
 * | written | stands for |
 * |---|---|
 * | `#each r { … $r … }` | the block once for each owned row, `$r` being 0, 1, …; so for `c`, the columns taken at once, and `d`, the vectors of a head's row |
 * | `#load(buffer, base, d)` | vector d of the row that begins at base |
 * | `#store(buffer, base, d, value)` | a statement that writes it |
 * | `#present(c, value, otherwise)` | value, but otherwise where column c is beyond the last token |
 * | `#dropped(i, j)` | whether the weight at query i and key j is dropped |
 * | `#masked(i, j, value, otherwise)` | value, but otherwise where the diagonal is masked and i is j |
 */
import { randomWgsl } from "../../random.ts";
import { gridMainWgsl, gridWgsl } from "../grid.ts";

/** Threads of a workgroup. */
export const LANES = 64;

/** Sizes and choices that the text of a kernel depends on. */
export interface AttentionPlan {
  tokens: number;
  numHeads: number;
  keyDim: number;
  drops: boolean;
  /** Whether no token attends to itself. */
  masksDiagonal: boolean;
  /** Rows that a thread owns. */
  rows: number;
  /** Rows of the other side that are taken at once. */
  columns: number;
}

/** Template of one kernel, from the top of its body to the end. */
export interface KernelTemplate {
  /** Buffers that are read, in the order of their bindings; `name: type`, or vectors of a row. */
  read: string[];
  /** Buffers that are written, bound after those. */
  write: string[];
  /**
   * Declares what a thread holds of the rows it owns. It sees the number of its `head`, and of owned
   * row r the token `i$r` and where it begins, `own$r`.
   */
  owned: string;
  /**
   * Takes in some rows of the other side: of column c the token `j$c`, and where it begins,
   * `other$c`.
   */
  streamed: string;
  /** Stands behind the loop. */
  after: string;
  /** Writes owned row r. */
  stored: string;
}

/** What a score is multiplied by, times log2(e). */
export const scoreScale = ({ keyDim }: AttentionPlan) => `${Math.LOG2E / Math.sqrt(keyDim)}`;
/** What a score is multiplied by. */
export const unitScale = ({ keyDim }: AttentionPlan) => `${1 / Math.sqrt(keyDim)}`;

/** WGSL: the buffers of a kernel, and its uniform. */
export function bindingsWgsl(
  { keyDim }: AttentionPlan,
  { read, write }: Pick<KernelTemplate, "read" | "write">,
): string {
  const declared = (buffer: string) => {
    const [name, type = keyDim % 4 === 0 ? "vec4<f32>" : "f32"] = buffer.split(": ");
    return `${name}: array<${type}>;`;
  };
  return [
    ...read.map((buffer) => `var<storage, read> ${declared(buffer)}`),
    ...write.map((buffer) => `var<storage, read_write> ${declared(buffer)}`),
    "var<uniform> u: Uniforms;",
  ].map((line, at) => `@group(0) @binding(${at}) ${line}`).join("\n");
}

/** The WGSL of a kernel. */
export function kernelWgsl(plan: AttentionPlan, template: KernelTemplate): string {
  const { tokens, numHeads, keyDim, rows, columns, drops } = plan;
  const isWide = keyDim % 4 === 0;
  const unit = isWide ? keyDim / 4 : keyDim;
  const rowAt = (i: string) => `head_base + ${i} * ${numHeads * unit}u`;
  const blocks = Math.ceil(tokens / rows);
  // The last thread of a head may own rows beyond the last token, and the last turn of the loop take
  // some in; both read the last token's instead, and what comes of it is not stored or counts 0.
  const otherToken = (c: number) => {
    if (c === 0) return "";
    const last = tokens % columns === 0 ? null : `${tokens - 1}u`;
    return `let j${c} = ${last ? `min(j0 + ${c}u, ${last})` : `j0 + ${c}u`};`;
  };
  const stored = (r: number) => {
    const text = template.stored.replaceAll("$r", `${r}`);
    return tokens % rows !== 0 && r > 0 ? `if (first + ${r}u < ${tokens}u) { ${text} }` : text;
  };
  const text = /* wgsl */ `
struct Uniforms { threads: u32, stream: u32, threshold: u32, keep_scale: f32 }
${bindingsWgsl(plan, template)}
${drops ? randomWgsl : ""}${gridWgsl}
${gridMainWgsl(LANES)} {
  let thread = block_of(workgroup, workgroups) * ${LANES}u + lane;
  if (thread >= u.threads) { return; }
  let head = thread / ${blocks}u;
  let first = (thread % ${blocks}u) * ${rows}u;
  let image = head / ${numHeads}u;
  let head_base = (image * ${tokens * numHeads}u + head % ${numHeads}u) * ${unit}u;
  #each r {
    let i$r = min(first + $ru, ${tokens - 1}u);
    let own$r = ${rowAt("i$r")};
  }
  ${template.owned}
  for (var j0 = 0u; j0 < ${tokens}u; j0 += ${columns}u) {
    ${upTo(columns).map((c) => `${otherToken(c)} let other${c} = ${rowAt(`j${c}`)};`).join("\n")}
    ${template.streamed}
  }
  ${template.after}
  ${upTo(rows).map(stored).join("\n")}
}
`;
  return expand(text, plan);
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Replaces what `#` marks, outermost first. */
function expand(text: string, plan: AttentionPlan): string {
  const pieces: string[] = [];
  let at = 0;
  for (let mark = text.indexOf("#"); mark >= 0; mark = text.indexOf("#", at)) {
    pieces.push(text.slice(at, mark));
    const start = text.slice(mark).search(/[({]/) + mark;
    const end = closingOf(text, start);
    const name = text.slice(mark + 1, start).trim();
    const inner = text.slice(start + 1, end);
    const replaced = name.startsWith("each ")
      ? repeated(name.at(-1)!, inner, plan)
      : macros[name]!(plan, ...argumentsOf(inner));
    pieces.push(expand(replaced, plan));
    at = end + 1;
  }
  pieces.push(text.slice(at));
  return pieces.join("");
}

function repeated(name: string, block: string, { rows, columns, keyDim }: AttentionPlan): string {
  const count = { r: rows, c: columns, d: Math.ceil(keyDim / 4) }[name]!;
  return upTo(count).map((i) => block.replaceAll(`$${name}`, `${i}`)).join("\n");
}

const macros: Record<string, (plan: AttentionPlan, ...args: string[]) => string> = {
  load({ keyDim }, buffer, base, d) {
    if (keyDim % 4 === 0) return `${buffer}[${base} + ${d}u]`;
    const parts = upTo(4).map((lane) => {
      const at = 4 * Number(d) + lane;
      return at < keyDim ? `${buffer}[${base} + ${at}u]` : "0.0";
    });
    return `vec4<f32>(${parts.join(", ")})`;
  },
  store({ keyDim }, buffer, base, d, value) {
    if (keyDim % 4 === 0) return `${buffer}[${base} + ${d}u] = ${value};`;
    return ["x", "y", "z", "w"].flatMap((lane, i) => {
      const at = 4 * Number(d) + i;
      return at < keyDim ? [`${buffer}[${base} + ${at}u] = (${value}).${lane};`] : [];
    }).join(" ");
  },
  present({ tokens, columns }, c, value, otherwise) {
    if (c === "0" || tokens % columns === 0) return value!;
    return `select(${otherwise}, ${value}, j0 + ${c}u < ${tokens}u)`;
  },
  masked({ masksDiagonal }, i, j, value, otherwise) {
    return masksDiagonal ? `select(${value}, ${otherwise}, ${i} == ${j})` : value!;
  },
  dropped({ tokens }, i, j) {
    return `random_bits(mask, (mask_head * ${tokens}u + ${i}) * ${tokens}u + ${j}) < u.threshold`;
  },
};

/** Position at which the bracket that opens at `open` closes. */
function closingOf(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if ("({[".includes(text[at]!)) depth++;
    else if (")}]".includes(text[at]!) && --depth === 0) return at;
  }
  throw new Error(`A bracket stays open: ${text.slice(open, open + 80)}`);
}

/** Texts between the outermost commas. */
function argumentsOf(text: string): string[] {
  const args: string[] = [];
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    if ("({[".includes(text[at]!)) at = closingOf(text, at);
    else if (text[at] === ",") {
      args.push(text.slice(from, at).trim());
      from = at + 1;
    }
  }
  return [...args, text.slice(from).trim()];
}
