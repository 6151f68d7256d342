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
import { dispatch, uniformWords } from "../../backend/compute.ts";
import { currentGpu } from "../../backend/device.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import type { AttentionAttributes, AttentionGradInputs, AttentionInputs } from "./host.ts";
import { type AttentionPlan, LANES, Writer } from "./writer.ts";
import { gridOf } from "../grid.ts";

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
  const isSoftware = currentGpu()?.isSoftware ?? false;
  const plan = { tokens, numHeads, keyDim, drops, ...tileOf(keyDim, tokens, isSoftware) };
  const threads = batch * numHeads * Math.ceil(tokens / plan.rows);
  return dispatch({
    key: `${name}/${Object.values(plan).map(Number).join()}`,
    wgsl: () => wgsl(plan),
    ...tensors,
    uniforms: uniformWords([["u", threads], ["u", stream], ["u", threshold], ["f", scale]]),
    workgroups: gridOf(Math.ceil(threads / LANES)),
  });
}

/**
 * The tile by width of a head. A software adapter spills registers into its first-level cache at
 * little cost, so there a thread owns as many rows as that holds (measured on llvmpipe: 4 rows of
 * width 64 take half the time of 2, and 8 no less than 4; a head of width 128 has one row, because
 * the driver takes seconds to compile more). On hardware spilling is what hurts: the last kernel
 * holds four vectors of keyDim for each row owned.
 */
function tileOf(
  keyDim: number,
  tokens: number,
  isSoftware: boolean,
): Pick<AttentionPlan, "rows" | "columns"> {
  const room = isSoftware && keyDim <= 64 ? 256 / keyDim : 64 / keyDim;
  const rows = Math.max(1, Math.floor(Math.min(8, room, tokens)));
  return { rows, columns: keyDim <= 32 ? Math.min(2, tokens) : 1 };
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
