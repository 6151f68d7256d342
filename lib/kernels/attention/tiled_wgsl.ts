/**
 * Attention in the form `workgroup` (see `../forms.ts`), again in the manner of FlashAttention, as
 * matrix products are tiled: a workgroup owns a tile of rows of one head (queries, or keys in the last
 * kernel) and streams the rows of the other side past it, 32 at a time.
 *
 * Its 8 x 8 threads each make 4 x 4 (for wide heads 2 x 4) of the tile's products, over chunks of
 * both sides' vectors in the workgroup's memory; what becomes of them, weights or gradients of scores,
 * is left there for all, and each thread adds up its rows' share of the streamed rows in every eighth
 * vector. A thread so holds no whole row of a head, whatever its width. Of a row's statistics, the
 * largest score is found by its eight threads together for every tile, and the sum once at the end.
 *
 * The workgroup's memory is below 11 KiB of the 16 that every WebGPU grants. Nothing is added across
 * workgroups, and within one in a fixed order, so equal inputs give equal bytes.
 *
 * The tensors that are read and written, and their meaning, are those of `wgsl.ts`. In the names below
 * r is an owned row of a thread, n one of its vectors, x and y are the thread's place, and i an owned
 * and j a streamed token.
 */
import { range } from "../matmul/code.ts";
import {
  addRowsWgsl,
  COLUMNS,
  droppedWgsl,
  each,
  leaveWgsl,
  ofRows,
  presentWgsl,
  productsWgsl,
  rowAt,
  SIDE,
  sizesOf,
  storeWgsl,
  sumsWgsl,
  tiledWgsl,
} from "./tiled_writer.ts";
import { type AttentionPlan, scoreScale, unitScale } from "./writer.ts";

const zeros = { absent: "0.0", masked: "0.0" };

function maskWgsl({ drops, tokens }: AttentionPlan): string {
  if (!drops) return "";
  const end = `u.heads * ${tokens}u`;
  return `let mask = vec2<u32>(statistics[${end}], statistics[${end} + 1u]);
  let mask_head = head + statistics[${end} + 2u];`;
}

/** Scores s, hence powers p; the results o, with the largest and the sum of a row's powers so far. */
export const tiledForward = (isPart: boolean) => (plan: AttentionPlan): string => {
  const { tokens, numHeads, rows, drops } = plan;
  const { ofThread } = sizesOf(plan);
  const end = `u.heads * ${tokens}u`;
  return tiledWgsl(plan, {
    read: ["query", "key", "value", ...(drops ? ["step_key: u32"] : [])],
    write: ["attended", "statistics: u32"],
    before: `
  ${
      drops
        ? `let mask = stream_key(step_key[0], u.stream, step_key[1]);
  let first_head = ${isPart ? `step_key[2] * ${numHeads}u` : "0u"};
  let mask_head = head + first_head;`
        : ""
    }
  var largest = Rows(-3.0e38);
  var sums = Rows();
  ${sumsWgsl(plan, "o")}`,
    tile: `
    ${productsWgsl(plan, "s", "query", "key")}
    ${
      each(rows, (r) =>
        `s${r} = ${
          // Below where `largest` begins, so that a masked power is 0 even before any other score.
          presentWgsl(plan, r, `s${r} * ${scoreScale(plan)}`, {
            absent: "-3.0e38",
            masked: "-3.4e38",
          })};`)
    }
    let top = max(largest, largest_of(lane, ${
      ofRows(plan, (r) => `max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w))`)
    }));
    let fade = exp2(largest - top);
    largest = top;
    ${each(rows, (r) => `var p${r} = exp2(s${r} - vec4<f32>(top[${r}]));`)}
    sums = sums * fade + ${ofRows(plan, (r) => `dot(p${r}, vec4<f32>(1.0))`)};
    ${
      drops
        ? each(
          rows,
          (r) => `p${r} = select(p${r}, vec4<f32>(), ${droppedWgsl(plan, r, "queries")});`,
        )
        : ""
    }
    ${leaveWgsl(plan, "p")}
    ${each(rows, (r) => each(ofThread, (n) => `o${r}_${n} *= fade[${r}];`))}
    ${addRowsWgsl(plan, "o", "value")}`,
    after: `
  let total = sum_of(lane, sums);
  let scale = ${drops ? "u.keep_scale" : "1.0"} / total;
  let log_sum = largest + log2(total);
  ${
      drops
        ? `if (block == 0u && lane == 0u) {
    statistics[${end}] = mask.x;
    statistics[${end} + 1u] = mask.y;
    statistics[${end} + 2u] = first_head;
  }`
        : ""
    }`,
    stored: (r) =>
      `${storeWgsl(plan, "attended", "own", (n) => `o${r}_${n} * scale[${r}]`)}
    if (x == 0u) { statistics[head * ${tokens}u + i${r}] = bitcast<u32>(log_sum[${r}]); }`,
  });
};

/** Scores s, hence weights; the weights' gradients t, hence the scores' ds; the queries' sums dq. */
export function tiledQueryGrad(plan: AttentionPlan): string {
  const { tokens, rows, drops } = plan;
  const { ofThread } = sizesOf(plan);
  const used = (r: number) =>
    drops
      ? `select(t${r} * u.keep_scale, vec4<f32>(), ${droppedWgsl(plan, r, "queries")})`
      : `t${r}`;
  // A thread sees every eighth vector of its rows.
  const products = (r: number) =>
    range(ofThread).map((n) => {
      const at = `(${rowAt(plan, `i${r}`)}, x + ${n * SIDE}u)`;
      return `dot(upstream_at${at}, attended_at${at})`;
    }).join(" + ");
  return tiledWgsl(plan, {
    read: ["query", "key", "value", "upstream", "statistics: u32", "attended"],
    write: ["d_query", "deltas: f32"],
    before: `
  ${maskWgsl(plan)}
  let log_sum = ${ofRows(plan, (r) => `bitcast<f32>(statistics[head * ${tokens}u + i${r}])`)};
  let delta = sum_of(lane, ${ofRows(plan, products)});
  ${sumsWgsl(plan, "dq")}`,
    tile: `
    ${productsWgsl(plan, "s", "query", "key")}
    ${productsWgsl(plan, "t", "upstream", "value")}
    ${
      each(rows, (r) => {
        const weight = `exp2(s${r} * ${scoreScale(plan)} - vec4<f32>(log_sum[${r}]))`;
        const value = `${weight} * (${used(r)} - vec4<f32>(delta[${r}]))`;
        return `let ds${r} = ${presentWgsl(plan, r, value, zeros)};`;
      })
    }
    ${leaveWgsl(plan, "ds")}
    ${addRowsWgsl(plan, "dq", "key")}`,
    after: "",
    stored: (r) =>
      `${storeWgsl(plan, "d_query", "own", (n) => `dq${r}_${n} * ${unitScale(plan)}`)}
    if (x == 0u) { deltas[head * ${tokens}u + i${r}] = delta[${r}]; }`,
  });
}

/**
 * Owned are keys, streamed are queries: of keys and queries scores s, hence weights p; of values and
 * upstream gradients the weights' gradients t, hence the scores' ds. Sums dv of the upstream
 * gradients, and dk of the queries.
 */
export function tiledKeyValueGrad(plan: AttentionPlan): string {
  const { tokens, rows, drops } = plan;
  const ofColumns = (text: (c: number) => string) =>
    `vec4<f32>(${range(COLUMNS).map(text).join(", ")})`;
  const at = (c: number) => `[head * ${tokens}u + min(j[${c}], ${tokens - 1}u)]`;
  return tiledWgsl(plan, {
    read: ["query", "key", "value", "upstream", "statistics: u32", "deltas: f32"],
    write: ["d_key", "d_value"],
    before: `
  ${maskWgsl(plan)}
  ${sumsWgsl(plan, "dk")}
  ${sumsWgsl(plan, "dv")}`,
    tile: `
    let log_sum = ${ofColumns((c) => `bitcast<f32>(statistics${at(c)})`)};
    let delta = ${ofColumns((c) => `deltas${at(c)}`)};
    ${productsWgsl(plan, "s", "key", "query")}
    ${productsWgsl(plan, "t", "value", "upstream")}
    ${
      each(rows, (r) => {
        const weight = `exp2(s${r} * ${scoreScale(plan)} - log_sum)`;
        const kept = `select(vec4<f32>(u.keep_scale), vec4<f32>(), ${
          droppedWgsl(plan, r, "keys")
        })`;
        return `let p${r} = ${presentWgsl(plan, r, weight, zeros)};
    ${drops ? `let kept${r} = ${kept};` : ""}
    let used${r} = p${r}${drops ? ` * kept${r}` : ""};
    let ds${r} = p${r} * (t${r}${drops ? ` * kept${r}` : ""} - delta);`;
      })
    }
    ${leaveWgsl(plan, "used")}
    ${addRowsWgsl(plan, "dv", "upstream")}
    workgroupBarrier();
    ${leaveWgsl(plan, "ds")}
    ${addRowsWgsl(plan, "dk", "query")}`,
    after: "",
    stored: (r) =>
      `${storeWgsl(plan, "d_key", "own", (n) => `dk${r}_${n} * ${unitScale(plan)}`)}
    ${storeWgsl(plan, "d_value", "own", (n) => `dv${r}_${n}`)}`,
  });
}
