import {
  tiledForward,
  tiledKeyValueGrad,
  tiledQueryGrad,
} from "../../../lib/kernels/attention/tiled_wgsl.ts";
import { COLUMNS, tiledRows } from "../../../lib/kernels/attention/tiled_writer.ts";
import { assertWithinLimits } from "../workgroup_limits.ts";

Deno.test("workgroups of attention stay within WebGPU's least limits, whatever the head", () => {
  for (let keyDim = 1; keyDim <= 128; keyDim++) {
    const sizes = { tokens: 65, numHeads: 3, keyDim, drops: true, masksDiagonal: true };
    const plan = { ...sizes, rows: tiledRows(keyDim), columns: COLUMNS };
    assertWithinLimits(`forward ${keyDim}`, tiledForward(true)(plan));
    assertWithinLimits(`query gradient ${keyDim}`, tiledQueryGrad(plan));
    assertWithinLimits(`key and value gradient ${keyDim}`, tiledKeyValueGrad(plan));
  }
});
