import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import { capture } from "../../lib/capture/capture.ts";
import { tensorsOf } from "../../lib/capture/repeated.ts";
import { checkConfig } from "../../lib/checkpoint/same_run.ts";
import { loadState } from "../../lib/checkpoint/state.ts";
import { modelConfigOf, preset, type RunConfig } from "../../lib/config/run.ts";
import { createShapes } from "../../lib/data/shapes.ts";
import { UserError } from "../../lib/errors.ts";
import { createViTClassifier, namedVariables } from "../../lib/models/vit_classifier.ts";
import { AdamW } from "../../lib/optim/adamw.ts";
import { tf } from "../../lib/tfjs.ts";
import { DeviceSplit } from "../../lib/train/batches.ts";
import { checkStart } from "../../lib/train/check_start.ts";
import { precisionHere, precisionOf } from "../../lib/train/precision.ts";
import { type StepGradients, stepGradients, stepValues } from "../../lib/train/step.ts";
import { forEachBackend } from "../backends.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { unlessThere } from "../gpu_features.ts";
import { valuesOf } from "../models/tiny_model.ts";
import { preprocessingOf, shapes, tinyRun, train } from "./tiny_run.ts";

const onGpu = { backends: ["webgpu"], lacks: unlessThere("shader-f16") } as const;
const f16Run: RunConfig = { ...tinyRun, precision: "f16" };

forEachBackend("a run in f16 is refused where there is no WebGPU", (backend) => {
  assertThrows(
    () => checkStart(f16Run, shapes),
    UserError,
    `--precision f16 is for the webgpu backend alone, and this is ${backend}; take --backend ` +
      `webgpu, or leave --precision at f32.`,
  );
  assertThrows(() => precisionOf("f16"), UserError, "take --backend webgpu");
  assertEquals([precisionOf("f32"), precisionHere("f16")], ["f32", "f32"]);
}, { backends: ["wasm", "cpu"] });

Deno.test("a precision that there is not names those that there are", () => {
  assertThrows(() => precisionOf("f8"), UserError, 'Unknown --precision "f8"; take f32 or f16.');
});

Deno.test("a run goes on in its own precision alone", () => {
  assertThrows(
    () => checkConfig({ config: tinyRun }, f16Run),
    UserError,
    'its precision is "f32", this run\'s is "f16"',
  );
});

forEachBackend("in f16 a run learns as in f32, each time to the same bytes", async () => {
  await inFolder(async (folder) => {
    const f32 = await train(`${folder}/f32`, tinyRun);
    const f16 = await train(`${folder}/f16`, f16Run);
    const again = await train(`${folder}/again`, f16Run);
    const [losses, expected] = [f16, f32].map(({ events }) => events.map(({ loss }) => loss));
    losses!.forEach((loss, i) => assertAlmostEquals(loss, expected![i]!, 0.01, `step ${i}`));
    assertNotEquals(losses, expected);
    assertEquals(again.history, f16.history);
    const weightsOf = async ({ folder }: typeof f16) => (await loadState(folder.last)).weights;
    assertEquals(await weightsOf(again), await weightsOf(f16));
  });
}, onGpu);

/** Gradients of a step of 64 images of the preset tiny, captured and not yet computed. */
async function capturedStep(config: RunConfig) {
  const dataset = createShapes({ train: 64, test: 1 });
  const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
  const variables = [...namedVariables(model).values()];
  const optimizer = new AdamW(config);
  const split = new DeviceSplit(dataset.train, preprocessingOf(dataset.train));
  const parts = { config, model, variables, optimizer, train: split };
  const indices = Int32Array.from({ length: config.batchSize }, (_, i) => i);
  const inputs = tensorsOf(stepValues(parts, indices, 0));
  const compute = (inputs: Record<string, tf.Tensor>) => stepGradients(parts, inputs);
  const captured = await capture({ inputs, fn: compute, warmup: false });
  return {
    captured,
    plain: () => tf.tidy(() => compute(inputs) as StepGradients & tf.TensorContainer),
    dispose() {
      captured.dispose();
      tf.dispose(inputs);
      for (const part of [split, optimizer, model]) part.dispose();
    },
  };
}

forEachBackend(
  "f16 takes 35 % less of the device for a step, and more where it is counted",
  async () => {
    const config: RunConfig = { ...preset("tiny"), batchSize: 64 };
    const bytes: number[] = [];
    for (const precision of ["f32", "f16"] as const) {
      const step = await capturedStep({ ...config, precision });
      const { plannedBytes, f32Bytes } = step.captured.stats;
      bytes.push(plannedBytes);
      if (precision === "f32") assertEquals(f32Bytes, plannedBytes);
      else assert(plannedBytes < 0.6 * f32Bytes && f32Bytes <= bytes[0]!, `${plannedBytes}`);
      step.dispose();
    }
    assert(bytes[1]! < 0.65 * bytes[0]!, `${bytes} bytes`);
  },
  onGpu,
);

forEachBackend("a captured step in f16 has the bytes of a plain one", async () => {
  const small = { transformerLayers: 2, batchSize: 4, precision: "f16" } as const;
  const step = await capturedStep({ ...preset("tiny"), ...small });
  step.captured.replay();
  const plain = step.plain();
  for (const [name, gradient] of Object.entries(plain.gradients)) {
    const replayed = await valuesOf(step.captured.outputs.gradients[name]!);
    assertEquals(replayed, await valuesOf(gradient), name);
    assert(replayed.some((x) => x !== 0) && replayed.every(Number.isFinite), name);
  }
  tf.dispose([plain.stats, plain.gradients]);
  step.dispose();
}, onGpu);
