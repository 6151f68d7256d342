/**
 * Attention on webgpu in the manner of FlashAttention (Dao et al., 2022): scores and weights live
 * in registers only. The forward pass goes over the keys with a running maximum and sum (online
 * softmax) and keeps, of each row, the logarithm of its sum. The backward pass computes the weights
 * again from it: one kernel goes over the keys for dQuery, one over the queries for dKey and dValue.
 * Nothing is added across threads, so equal inputs give equal bytes.
 *
 * A thread owns a few rows (queries, or keys in the last kernel) and streams the rows of the other
 * side past them: every loaded vector serves all owned rows. That is what counts on a software
 * adapter, where a storage load costs several multiplications; a GPU serves it once to all threads
 * of a subgroup, since neighbouring threads read the same address. The text is generated for one
 * head width and token count: accumulators are separate variables because Naga checks every dynamic
 * index into a private array, and trip counts are constants.
 *
 * Scores are held times log2(e), since exp2 is the cheaper exponential.
 */
import { dispatch, uniformWords } from "../backend/compute.ts";
import { randomWgsl } from "../random.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import type {
  AttentionAttributes,
  AttentionGradInputs,
  AttentionInputs,
} from "./attention_host.ts";
import { gridOf, gridWgsl } from "./grid.ts";

const LANES = 64;

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

/** Forward: the result, and the rows' statistics for the backward pass. */
export function webgpuAttention(inputs: AttentionInputs, a: AttentionAttributes): TensorInfo[] {
  const { query, key, value, stepKey } = inputs;
  const heads = a.batch * a.numHeads;
  return run("attention", forwardWgsl, a, stepKey !== undefined, {
    inputs: [query, key, value, ...(stepKey ? [stepKey] : [])],
    outputs: [
      { shape: query.shape, dtype: "float32" },
      // Bits of floats; after them the key of the mask, so that the backward pass, which stands at
      // WebGPU's default limit of eight buffers, needs none for it.
      { shape: [heads * a.tokens + 2], dtype: "int32" },
    ],
  });
}

/** Backward: the gradients of query, key and value. */
export function webgpuAttentionGrad(
  { query, key, value, stepKey, attended, kept, upstream }: AttentionGradInputs,
  a: AttentionAttributes,
): TensorInfo[] {
  const gradient = { shape: query.shape, dtype: "float32" } as const;
  const drops = stepKey !== undefined;
  const [dQuery, deltas] = run("attention_query_grad", queryGradWgsl, a, drops, {
    inputs: [query, key, value, upstream, kept, attended],
    outputs: [gradient, { shape: [a.batch * a.numHeads * a.tokens], dtype: "float32" }],
  });
  const [dKey, dValue] = run("attention_key_value_grad", keyValueGradWgsl, a, drops, {
    inputs: [query, key, value, upstream, kept, deltas!],
    outputs: [gradient, gradient],
  });
  tf.backend().disposeData(deltas!.dataId);
  return [dQuery!, dKey!, dValue!];
}

function run(
  name: string,
  wgsl: (plan: AttentionPlan) => string,
  { batch, tokens, numHeads, keyDim, stream, threshold, scale }: AttentionAttributes,
  drops: boolean,
  tensors: Pick<Parameters<typeof dispatch>[0], "inputs" | "outputs">,
): TensorInfo[] {
  const plan = { tokens, numHeads, keyDim, drops, ...tileOf(name, keyDim, tokens) };
  const threads = batch * numHeads * Math.ceil(tokens / plan.rows);
  return dispatch({
    key: `${name}/${Object.values(plan).map(Number).join()}`,
    wgsl: () => wgsl(plan),
    ...tensors,
    uniforms: uniformWords([["u", threads], ["u", stream], ["u", threshold], ["f", scale]]),
    workgroups: gridOf(Math.ceil(threads / LANES)),
  });
}

/** Rows and columns by what the registers hold. */
function tileOf(name: string, keyDim: number, tokens: number) {
  const forced = (globalThis as any).TILE?.[name];
  const rows = forced?.[0] ?? (keyDim <= 32 ? 4 : keyDim <= 64 ? 2 : 1);
  return {
    rows: Math.min(rows, tokens),
    columns: Math.min(forced?.[1] ?? (name === "attention" ? 4 : 1), tokens),
  };
}

/** The pieces of text that all three kernels share. */
class Writer {
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
@compute @workgroup_size(${LANES})
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
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

  /** Zero for a column beyond the last token, when there can be one. */
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

const unitScale = ({ keyDim }: AttentionPlan) => `${1 / Math.sqrt(keyDim)}`;
const scoreScale = ({ keyDim }: AttentionPlan) => `${Math.LOG2E / Math.sqrt(keyDim)}`;

function forwardWgsl(plan: AttentionPlan): string {
  const w = new Writer(plan);
  const { rows, columns, tokens } = plan;
  const all = (text: (c: number) => string, join: string) =>
    Array.from({ length: columns }, (_, c) => text(c)).join(join);
  return w.open([
    ["query", null, "read"],
    ["key", null, "read"],
    ["value", null, "read"],
    ...(plan.drops ? [["step_key", "u32", "read"] as ["step_key", "u32", "read"]] : []),
    ["attended", null, "read_write"],
    ["statistics", "u32", "read_write"],
  ]) + `
${plan.drops ? "let mask = stream_key(step_key[0], u.stream, step_key[1]);" : ""}
${
    w.rows((r) =>
      `var largest${r} = -3.0e38; var sum${r} = 0.0;` +
      w.dims((d) =>
        `let q${r}_${d} = ${w.load("query", `own${r}`, d)} * ${scoreScale(plan)};
         var o${r}_${d} = vec4<f32>();`
      )
    )
  }
${
    w.stream(
      w.rows((r) => w.columns((c) => `var s${r}_${c} = 0.0;`)) +
        w.dims((d) =>
          w.columns((c) =>
            `let k${c}_${d} = ${w.load("key", `other${c}`, d)};` +
            w.rows((r) => `s${r}_${c} += dot(q${r}_${d}, k${c}_${d});`)
          )
        ) +
        w.rows((r) =>
          w.columns((c) => {
            const masked = w.present(c, `s${r}_${c}`, "-3.0e38");
            return masked === `s${r}_${c}` ? "" : `s${r}_${c} = ${masked};`;
          }) + `
    let top${r} = ${all((c) => `max(s${r}_${c}`, ", ")}, largest${r}${")".repeat(columns)};
    let fade${r} = exp2(largest${r} - top${r});
    largest${r} = top${r};
` + w.columns((c) => `var p${r}_${c} = exp2(s${r}_${c} - top${r});`) + `
    sum${r} = sum${r} * fade${r} + ${all((c) => `p${r}_${c}`, " + ")};
` + (plan.drops
            ? w.columns((c) =>
              `p${r}_${c} = select(p${r}_${c}, 0.0, ${w.dropped(`i${r}`, `j${c}`)});`
            )
            : "")
        ) +
        w.dims((d) =>
          w.columns((c) => `let v${c}_${d} = ${w.load("value", `other${c}`, d)};`) +
          w.rows((r) =>
            `o${r}_${d} = o${r}_${d} * fade${r} + ${all((c) => `p${r}_${c} * v${c}_${d}`, " + ")};`
          )
        ),
    )
  }
${w.rows((r) => `let scale${r} = ${plan.drops ? "u.keep_scale" : "1.0"} / sum${r};`)}
` + (plan.drops
    ? `if (thread == 0u) {
  statistics[u.threads / ${Math.ceil(tokens / rows)}u * ${tokens}u] = mask.x;
  statistics[u.threads / ${Math.ceil(tokens / rows)}u * ${tokens}u + 1u] = mask.y;
}`
    : "") +
    w.close((r) =>
      w.dims((d) => w.store("attended", `own${r}`, d, `o${r}_${d} * scale${r}`)) +
      `statistics[head * ${tokens}u + i${r}] = bitcast<u32>(largest${r} + log2(sum${r}));`
    );
}

/** The mask's key, from behind the statistics of the rows. */
function maskWgsl({ drops, tokens, rows }: AttentionPlan): string {
  if (!drops) return "";
  const end = `u.threads / ${Math.ceil(tokens / rows)}u * ${tokens}u`;
  return `let mask = vec2<u32>(statistics[${end}], statistics[${end} + 1u]);`;
}

function queryGradWgsl(plan: AttentionPlan): string {
  const w = new Writer(plan);
  return w.open([
    ["query", null, "read"],
    ["key", null, "read"],
    ["value", null, "read"],
    ["upstream", null, "read"],
    ["statistics", "u32", "read"],
    ["attended", null, "read"],
    ["d_query", null, "read_write"],
    ["deltas", "f32", "read_write"],
  ]) + maskWgsl(plan) +
    w.rows((r) =>
      `let log_sum${r} = bitcast<f32>(statistics[head * ${plan.tokens}u + i${r}]);
       var delta${r} = 0.0;` +
      w.dims((d) =>
        `let q${r}_${d} = ${w.load("query", `own${r}`, d)} * ${scoreScale(plan)};
         let g${r}_${d} = ${w.load("upstream", `own${r}`, d)};
         delta${r} += dot(g${r}_${d}, ${w.load("attended", `own${r}`, d)});
         var dq${r}_${d} = vec4<f32>();`
      )
    ) +
    w.stream(
      w.rows((r) => w.columns((c) => `var s${r}_${c} = 0.0; var t${r}_${c} = 0.0;`)) +
        w.dims((d) =>
          w.columns((c) =>
            `let k${c}_${d} = ${w.load("key", `other${c}`, d)};
             let v${c}_${d} = ${w.load("value", `other${c}`, d)};` +
            w.rows((r) =>
              `s${r}_${c} += dot(q${r}_${d}, k${c}_${d});
               t${r}_${c} += dot(g${r}_${d}, v${c}_${d});`
            )
          )
        ) +
        w.rows((r) =>
          w.columns((c) => {
            const used = plan.drops
              ? `select(t${r}_${c} * u.keep_scale, 0.0, ${w.dropped(`i${r}`, `j${c}`)})`
              : `t${r}_${c}`;
            const gradient = `exp2(s${r}_${c} - log_sum${r}) * (${used} - delta${r})`;
            return `let ds${r}_${c} = ${w.present(c, gradient, "0.0")};`;
          })
        ) +
        w.dims((d) => w.rows((r) => w.columns((c) => `dq${r}_${d} += ds${r}_${c} * k${c}_${d};`))),
    ) +
    w.close((r) =>
      w.dims((d) => w.store("d_query", `own${r}`, d, `dq${r}_${d} * ${unitScale(plan)}`)) +
      `deltas[head * ${plan.tokens}u + i${r}] = delta${r};`
    );
}

function keyValueGradWgsl(plan: AttentionPlan): string {
  const w = new Writer(plan);
  return w.open([
    ["query", null, "read"],
    ["key", null, "read"],
    ["value", null, "read"],
    ["upstream", null, "read"],
    ["statistics", "u32", "read"],
    ["deltas", "f32", "read"],
    ["d_key", null, "read_write"],
    ["d_value", null, "read_write"],
  ]) + maskWgsl(plan) +
    w.rows((r) =>
      w.dims((d) =>
        `let k${r}_${d} = ${w.load("key", `own${r}`, d)} * ${scoreScale(plan)};
         let v${r}_${d} = ${w.load("value", `own${r}`, d)};
         var dk${r}_${d} = vec4<f32>();
         var dv${r}_${d} = vec4<f32>();`
      )
    ) +
    w.stream(
      w.columns((c) =>
        `let log_sum${c} = bitcast<f32>(statistics[head * ${plan.tokens}u + j${c}]);
         let delta${c} = deltas[head * ${plan.tokens}u + j${c}];`
      ) +
        w.rows((r) => w.columns((c) => `var s${r}_${c} = 0.0; var t${r}_${c} = 0.0;`)) +
        w.dims((d) =>
          w.columns((c) =>
            `let q${c}_${d} = ${w.load("query", `other${c}`, d)};
             let g${c}_${d} = ${w.load("upstream", `other${c}`, d)};` +
            w.rows((r) =>
              `s${r}_${c} += dot(k${r}_${d}, q${c}_${d});
               t${r}_${c} += dot(v${r}_${d}, g${c}_${d});`
            )
          )
        ) +
        w.rows((r) =>
          w.columns((c) =>
            `let p${r}_${c} = ${w.present(c, `exp2(s${r}_${c} - log_sum${c})`, "0.0")};` +
            (plan.drops
              ? `let kept${r}_${c} = select(u.keep_scale, 0.0, ${w.dropped(`j${c}`, `i${r}`)});
                 let used${r}_${c} = p${r}_${c} * kept${r}_${c};`
              : `let kept${r}_${c} = 1.0; let used${r}_${c} = p${r}_${c};`) +
            `let ds${r}_${c} = p${r}_${c} * (t${r}_${c} * kept${r}_${c} - delta${c});`
          )
        ) +
        w.dims((d) =>
          w.rows((r) =>
            w.columns((c) =>
              `dk${r}_${d} += ds${r}_${c} * q${c}_${d};
               dv${r}_${d} += used${r}_${c} * g${c}_${d};`
            )
          )
        ),
    ) +
    w.close((r) =>
      w.dims((d) =>
        w.store("d_key", `own${r}`, d, `dk${r}_${d} * ${unitScale(plan)}`) +
        w.store("d_value", `own${r}`, d, `dv${r}_${d}`)
      )
    );
}
