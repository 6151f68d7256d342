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
import { forEachForm } from "../kernels/forms.ts";
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

/** The gradients of a step of up to 64 images, not yet computed. */
class Step {
  private readonly dataset = createShapes({ train: 64, test: 1 });
  private readonly model: tf.LayersModel;
  private readonly optimizer: AdamW;
  private readonly train = new DeviceSplit(
    this.dataset.train,
    preprocessingOf(this.dataset.train),
  );
  private readonly inputs: Record<string, tf.Tensor>;
  readonly compute: (inputs: Record<string, tf.Tensor>) => StepGradients;

  constructor(config: RunConfig) {
    this.model = createViTClassifier(modelConfigOf(config), { seed: 1 });
    this.optimizer = new AdamW(config);
    const { model, optimizer, train } = this;
    const variables = [...namedVariables(model).values()];
    const parts = { config, model, variables, optimizer, train };
    const indices = Int32Array.from({ length: config.batchSize }, (_, i) => i);
    this.inputs = tensorsOf(stepValues(parts, indices, 0));
    this.compute = (inputs) => stepGradients(parts, inputs);
  }

  captured() {
    return capture({ inputs: this.inputs, fn: this.compute, warmup: false });
  }

  /** The gradients by plain name, computed without a capture. */
  async plain(): Promise<Map<string, Float32Array>> {
    const { stats, gradients } = tf.tidy(() =>
      this.compute(this.inputs) as StepGradients & tf.TensorContainer
    );
    const read = new Map<string, Float32Array>();
    for (const [plain, { name }] of namedVariables(this.model)) {
      read.set(plain, await valuesOf(gradients[name]!));
    }
    tf.dispose([stats, gradients]);
    return read;
  }

  dispose(): void {
    tf.dispose(this.inputs);
    for (const part of [this.train, this.optimizer, this.model]) part.dispose();
  }
}

forEachBackend("f16 takes 35 % less of the device for a step, and tells how much", async () => {
  const planned: number[] = [];
  for (const precision of ["f32", "f16"] as const) {
    const step = new Step({ ...preset("tiny"), batchSize: 64, precision });
    const captured = await step.captured();
    const { plannedBytes, f32Bytes } = captured.stats;
    planned.push(plannedBytes);
    if (precision === "f32") assertEquals(f32Bytes, plannedBytes);
    else assert(plannedBytes < 0.6 * f32Bytes && f32Bytes <= planned[0]!, `${f32Bytes} bytes`);
    captured.dispose();
    step.dispose();
  }
  assert(planned[1]! < 0.65 * planned[0]!, `${planned} bytes`);
}, onGpu);

forEachBackend("a captured step in f16 has the bytes of a plain one", async () => {
  const small = { transformerLayers: 2, batchSize: 4, accumulate: 2 };
  const step = new Step({ ...preset("tiny"), ...small, precision: "f16" });
  const captured = await step.captured();
  captured.replay();
  const replayed = [];
  for (const gradient of Object.values(captured.outputs.gradients)) {
    replayed.push(await valuesOf(gradient));
  }
  assertEquals(replayed, [...(await step.plain()).values()]);
  captured.dispose();
  step.dispose();
}, onGpu);

/** Models that between them have every kind of layer. */
const kinds: Partial<RunConfig>[] = [
  { mlpHeadUnits: [12], pooling: "flatten" },
  {
    ...{ tokenizer: "shifted", pooling: "token", localityAttention: true },
    ...{ layerScale: 0.1, dropPath: 0.3 },
  },
  { tokenizer: "conv", convChannels: [5, 8], pooling: "sequence", mlpLastActivation: false },
  { distillation: "heads", mlpHeadUnits: [], pooling: "token", gelu: "tanh" },
];

for (const [i, kind] of kinds.entries()) {
  const text = Object.entries(kind).map(([field, value]) => `${field} ${value}`).join(", ");
  // The forms are the same for all.
  (i === 0 ? forEachForm : forEachBackend)(
    `gradients in f16 are those of f32 with ${text}`,
    async () => {
      const found = [];
      for (const precision of ["f32", "f16"] as const) {
        const step = new Step({ ...tinyRun, transformerLayers: 2, ...kind, precision });
        found.push(await step.plain());
        step.dispose();
      }
      const [f32, f16] = found;
      for (const [name, expected] of f32!) {
        // That of a key's bias is 0 but for rounding.
        const scale = Math.max(1e-3, ...expected.map(Math.abs));
        expected.forEach((x, i) => assertAlmostEquals(f16!.get(name)![i]!, x, 0.02 * scale, name));
      }
      assertNotEquals(f16, f32);
    },
    onGpu,
  );
}
