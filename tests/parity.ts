/**
 * Compares a model with reference values in a safetensors file.
 *
 *     deno run … tests/parity.ts [--backend webgpu|wasm|cpu] FILE.safetensors
 *
 * Builds the model from the file's `__metadata__.config`, loads `param.*` and prints the largest
 * absolute and relative error of each group that the file has: tokens, logits, loss, gradients, and
 * the parameters after three AdamW steps in both conventions. Exit code 1 above tolerance.
 */
import { parseViTConfig, type ViTConfig } from "../lib/config/run.ts";
import { readSafetensorsFile, type TensorData } from "../lib/checkpoint/safetensors.ts";
import { assertGpuHealthy } from "../lib/backend/device.ts";
import { selectBackend } from "../lib/backend/select.ts";
import { UserError } from "../lib/errors.ts";
import { softmaxCrossEntropy } from "../lib/kernels/softmax_cross_entropy.ts";
import { createViTClassifier, namedVariables } from "../lib/models/vit_classifier.ts";
import { AdamW } from "../lib/optim/adamw.ts";
import { tf } from "../lib/tfjs.ts";
import { assignWeights } from "../lib/train/run.ts";

/** The errors of one tensor against its reference. */
export interface TensorError {
  name: string;
  /** Largest absolute difference. */
  absolute: number;
  /** The same, relative to the reference's largest entry (to 1e-6 where that is smaller). */
  relative: number;
  /** What `relative` may be. */
  tolerance: number;
}

/** Allowed relative errors of each group. */
const tolerances = { output: 1e-4, grad: 1e-3, adamw: 1e-4 };

/**
 * Its gradient is 0 but for rounding, and Adam divides rounding by rounding, so for the gradient and
 * for what follows from it only the absolute error says something.
 */
const zeroGradient = /attention\.key\.bias$/;

/** Builds, runs and compares on the current backend. */
export async function parityErrors(path: string): Promise<TensorError[]> {
  const { metadata, tensors } = await readSafetensorsFile(path);
  const config = modelConfig(metadata.config, path);
  const reference = (name: string) => tensors.get(name)?.data as Float32Array | undefined;
  const model = createViTClassifier(config);
  const variables = namedVariables(model);
  const load = () => assignWeights(model, parameters(tensors), path);
  load();
  const images = tensorOf(tensors, "input.images", path);
  const labels = tf.tidy(() => tensorOf(tensors, "input.labels", path).toInt() as tf.Tensor1D);
  const list = [...variables.values()];
  const errors: TensorError[] = [];
  const compare = async (name: string, actual: tf.Tensor, tolerance: number) => {
    const expected = reference(name);
    if (expected) errors.push(errorOf(name, await actual.data<"float32">(), expected, tolerance));
  };

  const loss = () => {
    const logits = model.apply(images, { training: false }) as tf.Tensor2D;
    return softmaxCrossEntropy(logits, labels).loss;
  };
  const encoder = tf.model({
    inputs: model.inputs,
    outputs: model.getLayer("norm").output as tf.SymbolicTensor,
  });
  const tokens = tf.tidy(() => encoder.apply(images, {}) as tf.Tensor);
  const logits = tf.tidy(() => model.apply(images, {}) as tf.Tensor);
  await compare("output.tokens", tokens, tolerances.output);
  await compare("output.logits", logits, tolerances.output);
  const { value, grads } = tf.variableGrads(loss, list);
  await compare("output.loss", value, tolerances.output);
  for (const [name, variable] of variables) {
    await compare(`grad.${name}`, grads[variable.name]!, tolerances.grad);
  }
  tf.dispose([tokens, logits, value, grads]);

  for (const [group, decayConvention] of [["adamw_tfa", "tfa"], ["adamw", "keras"]] as const) {
    if (![...tensors.keys()].some((name) => name.startsWith(`${group}.`))) continue;
    load();
    const optimizer = new AdamW({ decayConvention });
    for (let step = 0; step < 3; step++) optimizer.minimize(loss, false, list);
    for (const [name, variable] of variables) {
      await compare(`${group}.${name}`, variable, tolerances.adamw);
    }
    optimizer.dispose();
  }
  assertGpuHealthy();
  tf.dispose([images, labels]);
  model.dispose();
  return errors;
}

/** The errors of each group (`grad`, `adamw`, …) above tolerance. */
export function failures(errors: TensorError[]): TensorError[] {
  return errors.filter(({ relative, tolerance }) => !(relative <= tolerance));
}

function errorOf(
  name: string,
  actual: Float32Array,
  expected: Float32Array,
  tolerance: number,
): TensorError {
  if (actual.length !== expected.length) {
    throw new UserError(`${name} has ${expected.length} entries, the model ${actual.length}.`);
  }
  let absolute = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= absolute)) absolute = difference;
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  const isZero = zeroGradient.test(name);
  return {
    name,
    absolute,
    relative: isZero ? absolute : absolute / Math.max(scale, 1e-6),
    tolerance,
  };
}

function modelConfig(json: string | undefined, path: string): ViTConfig {
  if (json === undefined) throw new UserError(`${path} has no "config" in its metadata.`);
  const { batch: _batch, seed: _seed, ...shape } = JSON.parse(json);
  const rates = { attentionDropout: 0, mlpDropout: 0, headDropout: 0, layerNormEpsilon: 1e-6 };
  return parseViTConfig({ ...rates, ...shape });
}

function parameters(tensors: Map<string, TensorData>) {
  const own = [...tensors].filter(([name]) => name.startsWith("param."));
  return new Map(own.map(([name, { shape, data }]) => [
    name.slice("param.".length),
    { shape, data: data as Float32Array },
  ]));
}

function tensorOf(tensors: Map<string, TensorData>, name: string, path: string): tf.Tensor {
  const found = tensors.get(name);
  if (!found) throw new UserError(`${path} has no tensor "${name}".`);
  return tf.tensor(found.data as Float32Array | Int32Array, [...found.shape]);
}

function summary(errors: TensorError[]): string[] {
  const groups = Map.groupBy(errors, ({ name }) => {
    return name.startsWith("output.") ? name : name.slice(0, name.indexOf("."));
  });
  return [...groups].map(([group, list]) => {
    const absolute = Math.max(...list.map((error) => error.absolute));
    const worst = list.reduce((a, b) =>
      b.relative / b.tolerance > a.relative / a.tolerance ? b : a
    );
    const verdict = failures(list).length === 0 ? "ok" : `ABOVE ${worst.tolerance}`;
    return `${group.padEnd(14)} ${String(list.length).padStart(4)} tensors  ` +
      `absolute ${absolute.toExponential(2)}  relative ${worst.relative.toExponential(2)}  ` +
      `${verdict}${list.length > 1 ? `  (worst: ${worst.name})` : ""}`;
  });
}

if (import.meta.main) {
  const { newCommand, parseArguments, runTask } = await import("../tasks/cli.ts");
  await runTask(async () => {
    const command = newCommand("parity", "Compare a model with reference values")
      .argument("<file>", "safetensors file of reference values")
      .option("--backend <name>", "auto, webgpu, wasm or cpu", "auto");
    parseArguments(command);
    const choice = await selectBackend(command.opts().backend);
    console.log(choice.reason);
    const errors = await parityErrors(command.args[0]!);
    console.log(summary(errors).join("\n"));
    if (failures(errors).length > 0) Deno.exit(1);
  });
}
