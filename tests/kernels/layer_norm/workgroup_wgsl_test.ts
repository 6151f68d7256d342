import { backwardWgsl, forwardWgsl } from "../../../lib/kernels/layer_norm/workgroup_wgsl.ts";
import { assertWithinLimits } from "../workgroup_limits.ts";

Deno.test("workgroups of layer normalization stay within WebGPU's least limits", () => {
  for (const dim of [1, 3, 64, 100, 768, 4096]) {
    assertWithinLimits(`forward ${dim}`, forwardWgsl(dim));
    assertWithinLimits(`backward ${dim}`, backwardWgsl(dim, true));
  }
});
