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

Deno.test("workOf: parallel layers cost as many products as there are layers", () => {
  const [x, dy, kernel, bias] = [[2, 3, 4], [6, 5], [4, 5], [5]];
  const forward = {
    name: "VitParallelLinear",
    inputShapes: [x, kernel, kernel, bias, bias],
    outputShapes: [dy, dy],
  };
  const gradX = {
    name: "VitParallelLinearGradX",
    inputShapes: [dy, dy, kernel, kernel],
    outputShapes: [x],
  };
  const gradKernels = {
    name: "VitParallelLinearGradKernels",
    inputShapes: [x, dy, dy],
    outputShapes: [kernel, kernel, bias, bias],
  };
  for (const call of [forward, gradX, gradKernels]) assertEquals(workOf(call, step).flops, 480);
  assertEquals(workOf(forward, step).shape, "2 of 6x4x5");
});

Deno.test("workOf: layer norm does not write the input that it hands on", () => {
  const call = {
    name: "VitLayerNorm",
    inputShapes: [[6, 4], [4], [4]],
    outputShapes: [[6, 4], [6, 2], [6, 4]],
  };
  assertEquals(workOf(call, step).bytes, 4 * (24 + 4 + 4 + 24 + 12));
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

Deno.test("workOf: operations on images read and write each number once", () => {
  const work = workOf({
    name: "VitImageOperations",
    inputShapes: [[2, 4, 4, 3], [2, 3], null],
    outputShapes: [[2, 4, 4, 3]],
  }, step);
  assertEquals(work, { shape: "2x4x4x3", flops: 0, bytes: 4 * (96 + 6 + 96) });
});
