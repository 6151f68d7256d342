import { assertEquals } from "@std/assert";
import { workOf } from "../../bench/work.ts";

const step = { parameters: 100, imageBytes: 50 };

Deno.test("workOf: a dense layer counts its product and reads and writes each number once", () => {
  const work = workOf({
    name: "VitLinear",
    inputShapes: [[2, 3, 4], [4, 5], [5], null],
    outputShapes: [[2, 3, 5]],
  }, step);
  assertEquals(work, { shape: "6x4x5", flops: 240, bytes: 4 * (24 + 20 + 5 + 30) });
});

Deno.test("workOf: the gradients of a dense layer cost what its product costs", () => {
  const gradX = { name: "VitLinearGradX", inputShapes: [[6, 5], [4, 5]], outputShapes: [[6, 4]] };
  const gradKernel = {
    name: "VitLinearGradKernel",
    inputShapes: [[2, 3, 4], [6, 5]],
    outputShapes: [[4, 5], [5]],
  };
  assertEquals(workOf(gradX, step).flops, 240);
  assertEquals(workOf(gradKernel, step).flops, 240);
});

Deno.test("workOf: attention multiplies twice forward and seven times backward", () => {
  const inputShapes = [[2, 3, 8], [2, 3, 8], [2, 3, 8]];
  const forward = { name: "VitAttention", inputShapes, outputShapes: [[2, 3, 8]] };
  const backward = { name: "VitAttentionGrad", inputShapes, outputShapes: [[2, 3, 8]] };
  assertEquals(workOf(forward, step).flops, 2 * 2 * 2 * 3 * 3 * 8);
  assertEquals(workOf(backward, step).flops, 7 * 2 * 2 * 3 * 3 * 8);
});

Deno.test("workOf: the optimizer moves seven numbers a parameter", () => {
  const call = { name: "VitAdamW", inputShapes: [[4]], outputShapes: [] };
  assertEquals(workOf(call, step).bytes, 2800);
});

Deno.test("workOf: an unknown kernel is known by its traffic", () => {
  const call = { name: "Other", inputShapes: [[3], []], outputShapes: [[2, 2]] };
  assertEquals(workOf(call, step), { shape: "3", flops: 0, bytes: 32 });
});
