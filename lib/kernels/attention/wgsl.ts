/**
 * Attention on webgpu in the manner of FlashAttention (Dao et al., 2022): scores and weights never
 * reach memory. The forward pass goes over the keys with a running maximum and sum (online softmax)
 * and keeps, of each row, the logarithm of its sum. The backward pass computes the weights again from
 * it: one kernel goes over the keys for dQuery, one over the queries for dKey and dValue. Nothing is
 * added across threads, so equal inputs give equal bytes.
 *
 * Here are the dispatches of both forms (see `../forms.ts`), and the code of the form `thread`, where
 * scores and weights live in registers; `tiled_wgsl.ts` has the other.
 *
 * A thread owns a few rows (queries, or keys in the last kernel) and streams the rows of the other
 * side past them: every loaded vector serves all owned rows. That is what counts on a software
 * adapter, where a storage load costs several multiplications; a GPU serves it once to all threads
 * of a subgroup, since neighbouring threads read the same address. The text is generated for one
 * head width and token count: accumulators are separate variables because Naga checks every dynamic
 * index into a private array, and trip counts are constants. The templates below are WGSL but for
 * what `#` marks, which `writer.ts` explains; in their names r is an owned row, c a streamed one, and
 * d one of the vectors that a head's row is made of.
 *
 * Scores are held times log2(e), since exp2 is the cheaper exponential.
 */
import { dispatch, uniformWords } from "../../backend/compute.ts";
import { currentGpu } from "../../backend/device.ts";
import { type TensorInfo, tf } from "../../tfjs.ts";
import type { AttentionAttributes, AttentionGradInputs, AttentionInputs } from "./host.ts";
import { isOfPart } from "../dropout.ts";
import { chooseForm, type Form } from "../forms.ts";
import { gridOf } from "../grid.ts";
import { tiledForward, tiledKeyValueGrad, tiledQueryGrad } from "./tiled_wgsl.ts";
import { COLUMNS, tiledRows, tilesOfHead } from "./tiled_writer.ts";
import { type AttentionPlan, kernelWgsl, LANES, scoreScale, unitScale } from "./writer.ts";

/** Forward: the result, and the rows' statistics for the backward pass. */
export function webgpuAttention(inputs: AttentionInputs, a: AttentionAttributes): TensorInfo[] {
  const { query, key, value, stepKey } = inputs;
  const heads = a.batch * a.numHeads;
  const isPart = stepKey !== undefined && isOfPart(stepKey);
  const form = chooseForm({ kernel: "attention", ...a });
  const wgsl = (form === "thread" ? forwardWgsl : tiledForward)(isPart);
  return run(`attention${isPart ? "_part" : ""}`, form, wgsl, a, stepKey !== undefined, {
    inputs: [query, key, value, ...(stepKey ? [stepKey] : [])],
    outputs: [
      { shape: query.shape, dtype: "float32", stored: "activation" },
      // Bits of floats; after them the key of the mask and its first head, so that the backward pass,
      // which stands at WebGPU's default limit of eight buffers, needs none for it.
      { shape: [heads * a.tokens + 3], dtype: "int32" },
    ],
  });
}

/** Backward: the gradients of query, key and value. */
export function webgpuAttentionGrad(
  { query, key, value, stepKey, attended, kept, upstream }: AttentionGradInputs,
  a: AttentionAttributes,
): TensorInfo[] {
  const gradient = { shape: query.shape, dtype: "float32", stored: "gradient" } as const;
  const drops = stepKey !== undefined;
  const form = chooseForm({ kernel: "attention_grad", ...a });
  const [ofQuery, ofKeyValue] = form === "thread"
    ? [queryGradWgsl, keyValueGradWgsl]
    : [tiledQueryGrad, tiledKeyValueGrad];
  const [dQuery, deltas] = run("attention_query_grad", form, ofQuery, a, drops, {
    inputs: [query, key, value, upstream, kept, attended],
    outputs: [gradient, { shape: [a.batch * a.numHeads * a.tokens], dtype: "float32" }],
  });
  const [dKey, dValue] = run("attention_key_value_grad", form, ofKeyValue, a, drops, {
    inputs: [query, key, value, upstream, kept, deltas!],
    outputs: [gradient, gradient],
  });
  tf.backend().disposeData(deltas!.dataId);
  return [dQuery!, dKey!, dValue!];
}

function run(
  name: string,
  form: Form,
  wgsl: (plan: AttentionPlan) => string,
  a: AttentionAttributes,
  drops: boolean,
  tensors: Pick<Parameters<typeof dispatch>[0], "inputs" | "outputs">,
): TensorInfo[] {
  const { batch, tokens, numHeads, keyDim, maskDiagonal, stream, threshold, scale } = a;
  const heads = batch * numHeads;
  const isSoftware = currentGpu()?.isSoftware ?? false;
  const tile = form === "thread"
    ? tileOf(keyDim, tokens, isSoftware)
    : { rows: tiledRows(keyDim), columns: COLUMNS };
  const sizes = { tokens, numHeads, keyDim, drops, ...tile };
  const plan = { ...sizes, masksDiagonal: maskDiagonal };
  // One is cut into threads, the other into workgroups.
  const threads = heads * Math.ceil(tokens / plan.rows);
  const [first, blocks] = form === "thread"
    ? [threads, Math.ceil(threads / LANES)]
    : [heads, heads * tilesOfHead(plan)];
  return dispatch({
    key: `${name}${form === "thread" ? "" : "_shared"}/${Object.values(sizes).map(Number).join()}${
      maskDiagonal ? "/diagonal" : ""
    }`,
    wgsl: () => wgsl(plan),
    ...tensors,
    uniforms: uniformWords([["u", first], ["u", stream], ["u", threshold], ["f", scale]]),
    workgroups: gridOf(blocks),
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

/** `text(0)`, `text(1)`, … for the columns taken at once. */
const columnsOf = ({ columns }: AttentionPlan, text: (c: number) => string): string[] =>
  Array.from({ length: columns }, (_, c) => text(c));

/** The number of rows of all heads together, behind which `statistics` holds the mask's key. */
const rowsOfAll = ({ tokens, rows }: AttentionPlan) =>
  `u.threads / ${Math.ceil(tokens / rows)}u * ${tokens}u`;

/** WGSL: reads the mask's key from behind the statistics of the rows. */
function maskWgsl(plan: AttentionPlan): string {
  if (!plan.drops) return "";
  const end = rowsOfAll(plan);
  return `let mask = vec2<u32>(statistics[${end}], statistics[${end} + 1u]);
  let mask_head = head + statistics[${end} + 2u];`;
}

/**
 * Owned: queries q, with their results o so far, and the largest and the sum of their powers.
 * Streamed: keys k, which give scores s, hence powers p; then the values v, which are added to o.
 * `fade` is what the earlier sum and result shrink by when a larger score appears.
 */
const forwardWgsl = (isPart: boolean) => (plan: AttentionPlan): string => {
  const { drops, tokens, numHeads, columns, masksDiagonal } = plan;
  const partial = tokens % columns !== 0;
  // max(s0, max(s1, largest))
  const top = columnsOf(plan, (c) => `max(s$r_${c}, `).join("") + `largest$r` +
    ")".repeat(columns);
  return kernelWgsl(plan, {
    read: ["query", "key", "value", ...(drops ? ["step_key: u32"] : [])],
    write: ["attended", "statistics: u32"],
    owned: /* wgsl */ `
  ${
      drops
        ? `let mask = stream_key(step_key[0], u.stream, step_key[1]);
  let first_head = ${isPart ? `step_key[2] * ${numHeads}u` : "0u"};
  let mask_head = head + first_head;`
        : ""
    }
  #each r {
    var largest$r = -3.0e38;
    var sum$r = 0.0;
    #each d {
      let q$r_$d = #load(query, own$r, $d) * ${scoreScale(plan)};
      var o$r_$d = vec4<f32>();
    }
  }`,
    streamed: /* wgsl */ `
    #each r { #each c { var s$r_$c = 0.0; } }
    #each d {
      #each c {
        let k$c_$d = #load(key, other$c, $d);
        #each r { s$r_$c += dot(q$r_$d, k$c_$d); }
      }
    }
    #each r {
      ${
      partial
        ? columnsOf(plan, (c) => c > 0 ? `s$r_${c} = #present(${c}, s$r_${c}, -3.0e38);` : "")
          .join("\n")
        : ""
    }${
      masksDiagonal
        // Below where `largest` begins, so that its power is 0 even before any other score.
        ? columnsOf(plan, (c) => `\ns$r_${c} = #masked(i$r, j${c}, s$r_${c}, -3.4e38);`).join("")
        : ""
    }
      let top$r = ${top};
      let fade$r = exp2(largest$r - top$r);
      largest$r = top$r;
      #each c { var p$r_$c = exp2(s$r_$c - top$r); }
      sum$r = sum$r * fade$r + ${columnsOf(plan, (c) => `p$r_${c}`).join(" + ")};
      ${drops ? `#each c { p$r_$c = select(p$r_$c, 0.0, #dropped(i$r, j$c)); }` : ""}
    }
    #each d {
      #each c { let v$c_$d = #load(value, other$c, $d); }
      #each r {
        o$r_$d = o$r_$d * fade$r + ${columnsOf(plan, (c) => `p$r_${c} * v${c}_$d`).join(" + ")};
      }
    }`,
    after: /* wgsl */ `
  #each r { let scale$r = ${drops ? "u.keep_scale" : "1.0"} / sum$r; }
  ${
      drops
        ? `if (thread == 0u) {
    statistics[${rowsOfAll(plan)}] = mask.x;
    statistics[${rowsOfAll(plan)} + 1u] = mask.y;
    statistics[${rowsOfAll(plan)} + 2u] = first_head;
  }`
        : ""
    }`,
    stored: /* wgsl */ `
    #each d { #store(attended, own$r, $d, o$r_$d * scale$r) }
    statistics[head * ${tokens}u + i$r] = bitcast<u32>(largest$r + log2(sum$r));`,
  });
};

/**
 * Owned: queries q, the gradients g of their results, and their own gradients dq so far; `delta` is
 * the product of g and the result, which the derivative of the softmax subtracts.
 * Streamed: keys k and values v, which give scores s, hence weights, and the weights' gradients t.
 */
function queryGradWgsl(plan: AttentionPlan): string {
  const { drops, tokens } = plan;
  const used = drops ? "select(t$r_$c * u.keep_scale, 0.0, #dropped(i$r, j$c))" : "t$r_$c";
  return kernelWgsl(plan, {
    read: ["query", "key", "value", "upstream", "statistics: u32", "attended"],
    write: ["d_query", "deltas: f32"],
    owned: /* wgsl */ `
  ${maskWgsl(plan)}
  #each r {
    let log_sum$r = bitcast<f32>(statistics[head * ${tokens}u + i$r]);
    var delta$r = 0.0;
    #each d {
      let q$r_$d = #load(query, own$r, $d) * ${scoreScale(plan)};
      let g$r_$d = #load(upstream, own$r, $d);
      delta$r += dot(g$r_$d, #load(attended, own$r, $d));
      var dq$r_$d = vec4<f32>();
    }
  }`,
    streamed: /* wgsl */ `
    #each r { #each c { var s$r_$c = 0.0; var t$r_$c = 0.0; } }
    #each d {
      #each c {
        let k$c_$d = #load(key, other$c, $d);
        let v$c_$d = #load(value, other$c, $d);
        #each r {
          s$r_$c += dot(q$r_$d, k$c_$d);
          t$r_$c += dot(g$r_$d, v$c_$d);
        }
      }
    }
    #each r {
      #each c {
        let ds$r_$c = #masked(i$r, j$c, #present($c, exp2(s$r_$c - log_sum$r) * (${used} - delta$r), 0.0), 0.0);
      }
    }
    #each d { #each r { #each c { dq$r_$d += ds$r_$c * k$c_$d; } } }`,
    after: "",
    stored: /* wgsl */ `
    #each d { #store(d_query, own$r, $d, dq$r_$d * ${unitScale(plan)}) }
    deltas[head * ${tokens}u + i$r] = delta$r;`,
  });
}

/**
 * Owned: keys k and values v, and their gradients dk and dv so far.
 * Streamed: queries q and the gradients g of their results, which give scores s, hence weights p, and
 * the weights' gradients t; what the softmax needs of a query's row, the kernels before have kept.
 */
function keyValueGradWgsl(plan: AttentionPlan): string {
  const { drops, tokens } = plan;
  const kept = drops ? "select(u.keep_scale, 0.0, #dropped(j$c, i$r))" : "1.0";
  const used = drops ? "p$r_$c * kept$r_$c" : "p$r_$c";
  return kernelWgsl(plan, {
    read: ["query", "key", "value", "upstream", "statistics: u32", "deltas: f32"],
    write: ["d_key", "d_value"],
    owned: /* wgsl */ `
  ${maskWgsl(plan)}
  #each r {
    #each d {
      let k$r_$d = #load(key, own$r, $d) * ${scoreScale(plan)};
      let v$r_$d = #load(value, own$r, $d);
      var dk$r_$d = vec4<f32>();
      var dv$r_$d = vec4<f32>();
    }
  }`,
    streamed: /* wgsl */ `
    #each c {
      let log_sum$c = bitcast<f32>(statistics[head * ${tokens}u + j$c]);
      let delta$c = deltas[head * ${tokens}u + j$c];
    }
    #each r { #each c { var s$r_$c = 0.0; var t$r_$c = 0.0; } }
    #each d {
      #each c {
        let q$c_$d = #load(query, other$c, $d);
        let g$c_$d = #load(upstream, other$c, $d);
        #each r {
          s$r_$c += dot(k$r_$d, q$c_$d);
          t$r_$c += dot(v$r_$d, g$c_$d);
        }
      }
    }
    #each r {
      #each c {
        let p$r_$c = #masked(i$r, j$c, #present($c, exp2(s$r_$c - log_sum$c), 0.0), 0.0);
        let kept$r_$c = ${kept};
        let used$r_$c = ${used};
        let ds$r_$c = p$r_$c * (t$r_$c * kept$r_$c - delta$c);
      }
    }
    #each d {
      #each r {
        #each c {
          dk$r_$d += ds$r_$c * q$c_$d;
          dv$r_$d += used$r_$c * g$c_$d;
        }
      }
    }`,
    after: "",
    stored: /* wgsl */ `
    #each d {
      #store(d_key, own$r, $d, dk$r_$d * ${unitScale(plan)})
      #store(d_value, own$r, $d, dv$r_$d)
    }`,
  });
}
