/**
 * Compares a model with reference values in a safetensors file.
 *
 *     deno run … tests/parity.ts [--backend webgpu|wasm|cpu] FILE.safetensors|FOLDER
 *
 * Builds the model from the file's `__metadata__.config`, loads `param.*` and prints the largest
 * absolute and relative error of each group that the file has: tokens, logits, those of stochastic
 * depth, loss, gradients, and the parameters after three AdamW steps in both conventions. Exit code 1 above tolerance, 2 where
 * there is nothing to compare. A compact transformer's file is told by its tokenizer's kernels, one of
 * another kind by its tensors; see `tests/parity/`. A folder is one of a model of timm, Hugging Face or
 * torchvision with `expected.safetensors` beside it.
 */
import { parseViTConfig, type ViTConfig } from "../lib/config/run.ts";
import {
  readSafetensorsFile,
  type SafetensorsFile,
  type TensorData,
} from "../lib/checkpoint/safetensors.ts";
import { assertGpuHealthy } from "../lib/backend/device.ts";
import { inPrecision, type Precision } from "../lib/backend/precision.ts";
import { selectBackend } from "../lib/backend/select.ts";
import { UserError } from "../lib/errors.ts";
import { shown } from "../lib/shown.ts";
import { softmaxCrossEntropy } from "../lib/kernels/softmax_cross_entropy.ts";
import { architectureOf } from "../lib/models/architecture.ts";
import { createViTClassifier, namedVariables } from "../lib/models/vit_classifier.ts";
import { AdamW } from "../lib/optim/adamw.ts";
import { tf } from "../lib/tfjs.ts";
import { assignWeights } from "../lib/train/weights.ts";
import { logitsWithDropPath } from "./parity/drop_path.ts";
import { compareForeign } from "./parity/foreign.ts";
import { compareImageOperations, isImageOperations } from "./parity/image_operations.ts";
import { compareRecipe, isRecipe } from "./parity/recipe.ts";

/** The errors of one tensor against its reference. */
export interface TensorError {
  name: string;
  /** Largest absolute difference. */
  absolute: number;
  /** The same, relative to the reference's largest entry (to 1e-6 where that is smaller). */
  relative: number;
  /** What `relative` may be, or `absolute` where that is what is measured. */
  tolerance: number;
  measure?: "absolute";
  /** How much of what is allowed it takes, where no largest error decides. */
  share?: number;
}

/** Allowed relative errors of each group. */
const tolerancesOf = {
  f32: { output: 1e-4, grad: 1e-3, adamw: 1e-4 },
  // Adam divides a gradient by its own size, so that rounding decides some updates.
  f16: { output: 5e-3, grad: 2e-2, adamw: null },
};

/**
 * Its gradient is 0 but for rounding, and Adam divides rounding by rounding, so for the gradient and
 * for what follows from it only the absolute error says something.
 */
const zeroGradient = /(attention\.key|pooling\.attention)\.bias$/;

/** What a file may hold of stochastic depth: the images whose branches are kept, and the logits. */
const dropPathTensors = ["input.keep", "output.logits_drop_path_0.25"] as const;

/**
 * Builds, runs and compares on the current backend.
 * @throws {UserError} if the file holds no reference values, or not those of its configuration.
 */
export async function parityErrors(
  path: string,
  options: { numHeads?: number; precision?: Precision; onNotice?: (text: string) => void } = {},
): Promise<TensorError[]> {
  const isFolder = await Deno.stat(path).then((info) => info.isDirectory, () => false);
  if (isFolder) {
    const { model, compared } = await compareForeign(path, options.numHeads);
    assertGpuHealthy();
    for (const notice of model.notices) options.onNotice?.(notice);
    return compared.map(({ name, actual, expected, tolerance }) =>
      errorOf(name, actual, expected, tolerance)
    );
  }
  const { precision = "f32" } = options;
  const tolerances = tolerancesOf[precision];
  const file = await readSafetensorsFile(path);
  if (isRecipe(file.tensors)) {
    const compared = await compareRecipe(file.tensors, path);
    assertGpuHealthy();
    return compared.map(({ name, actual, expected, tolerance }) => ({
      ...errorOf(name, actual, expected, tolerance),
      measure: "absolute",
    }));
  }
  if (isImageOperations(file.tensors)) {
    const compared = await compareImageOperations(file.tensors, path);
    assertGpuHealthy();
    return compared.map(({ name, actual, expected, share }) => ({
      ...errorOf(name, actual, expected, 1),
      share,
    }));
  }
  const { metadata, tensors } = compactAsOurs(file);
  const config = modelConfig(metadata.config, path);
  checkReferences(tensors, config, path);
  const reference = (name: string) => tensors.get(name)?.data as Float32Array | undefined;
  const model = createViTClassifier(config);
  const variables = namedVariables(model);
  const load = () => assignWeights(model, parameters(tensors), path);
  load();
  const images = tensorOf(tensors, "input.images");
  const labels = tf.tidy(() => tensorOf(tensors, "input.labels").toInt() as tf.Tensor1D);
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
  if (config.tokenizer === "conv") {
    const tokenizer = tf.model({
      inputs: model.inputs,
      outputs: model.getLayer("tokenizer").output as tf.SymbolicTensor,
    });
    const made = tf.tidy(() => tokenizer.apply(images, {}) as tf.Tensor);
    await compare("output.tokenizer", made, tolerances.output);
    made.dispose();
  }
  const compute = <T>(of: () => T) => inPrecision(precision, of);
  const tokens = compute(() => tf.tidy(() => encoder.apply(images, {}) as tf.Tensor));
  const logits = compute(() => tf.tidy(() => model.apply(images, {}) as tf.Tensor));
  await compare("output.tokens", tokens, tolerances.output);
  await compare("output.logits", logits, tolerances.output);
  const { value, grads } = compute(() => tf.variableGrads(loss, list));
  await compare("output.loss", value, tolerances.output);
  for (const [name, variable] of variables) {
    await compare(`grad.${name}`, grads[variable.name]!, tolerances.grad);
  }
  tf.dispose([tokens, logits, value, grads]);

  const [keepName, droppedName] = dropPathTensors;
  const keep = reference(keepName);
  if (keep) {
    const dropped = logitsWithDropPath(model, parameters(tensors), images, keep);
    if (!dropped) throw unusable(path, `no step of ours keeps the images of its ${keepName}`);
    await compare(droppedName, dropped, tolerances.output);
    dropped.dispose();
  }

  for (const [group, decayConvention] of [["adamw_tfa", "tfa"], ["adamw", "keras"]] as const) {
    if (![...tensors.keys()].some((name) => name.startsWith(`${group}.`))) continue;
    if (tolerances.adamw === null) continue;
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
  return errors.filter((error) => !(shareOfTolerance(error) <= 1));
}

/** How much of what is allowed an error takes. */
function shareOfTolerance(
  { absolute, relative, tolerance, measure, share }: TensorError,
): number {
  return share ?? (measure === "absolute" ? absolute : relative) / tolerance;
}

function errorOf(
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): TensorError {
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

/**
 * A compact transformer's file in our names and fields; any other file as it is.
 *
 * Its configuration tells the tokenizer in words, so the filters are taken from the kernels.
 */
function compactAsOurs({ metadata, tensors }: SafetensorsFile): SafetensorsFile {
  const kernels = [...tensors].filter(([name]) => /^param\.tokenizer\.\d+\.kernel$/.test(name));
  if (kernels.length === 0) return { metadata, tensors };
  const renamed = new Map(
    [...tensors].map(([name, tensor]) => [
      name.replace(/^(param|grad)\.position_embedding$/, "$1.token_encoder.position_embedding")
        .replace(/^(param|grad)\.tokenizer\./, "$1.tokenizer.stages."),
      tensor,
    ]),
  );
  let config: Record<string, unknown>;
  try {
    config = Object.assign({}, JSON.parse(metadata.config!));
  } catch {
    return { metadata, tensors: renamed };
  }
  const { lastGelu, ...fields } = config;
  const ours = {
    ...{ patchSize: 1, mlpHeadUnits: [], ...fields },
    tokenizer: "conv",
    convChannels: kernels.map(([, { shape }]) => shape.at(-1)),
    mlpLastActivation: lastGelu,
  };
  return { metadata: { ...metadata, config: JSON.stringify(ours) }, tensors: renamed };
}

function modelConfig(json: string | undefined, path: string): ViTConfig {
  if (json === undefined) throw unusable(path, 'it has no "config" in its metadata');
  let value: Record<string, unknown>;
  try {
    value = Object.assign({}, JSON.parse(json));
  } catch {
    throw unusable(path, 'the "config" in its metadata is no JSON');
  }
  const { batch: _batch, seed: _seed, ...shape } = value;
  const rates = { attentionDropout: 0, mlpDropout: 0, headDropout: 0, layerNormEpsilon: 1e-6 };
  try {
    return parseViTConfig({ ...rates, ...shape });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw unusable(path, error.message.replace(/\.$/, ""));
  }
}

/**
 * The shapes of all tensors that a file of reference values may hold. Those of the input and the
 * parameters are needed, and one of the others at least.
 */
function referenceShapes(config: ViTConfig, batch: number): Map<string, readonly number[]> {
  const { imageSize, channels, numClasses, projectionDim } = config;
  const { side, tokens, weights } = architectureOf(config);
  const shapes = new Map<string, readonly number[]>([
    ["input.images", [batch, imageSize, imageSize, channels]],
    ["input.labels", [batch]],
    ["output.tokens", [batch, tokens, projectionDim]],
    ["output.logits", [batch, numClasses]],
    ["output.loss", []],
  ]);
  if (config.tokenizer === "conv") {
    shapes.set("output.tokenizer", [batch, side ** 2, projectionDim]);
    const [keep, logits] = dropPathTensors;
    shapes.set(keep, [batch]).set(logits, [batch, numClasses]);
  }
  for (const [name, shape] of weights) {
    for (const group of ["param", "grad", "adamw_tfa", "adamw"]) {
      shapes.set(`${group}.${name}`, shape);
    }
  }
  return shapes;
}

function checkReferences(
  tensors: ReadonlyMap<string, TensorData>,
  config: ViTConfig,
  path: string,
): void {
  const { transformerLayers } = config;
  if (transformerLayers > tensors.size) {
    throw unusable(
      path,
      `it has ${tensors.size} tensors for ${transformerLayers} transformerLayers`,
    );
  }
  const [batch = 0] = tensors.get("input.labels")?.shape ?? [];
  const shapes = referenceShapes(config, batch);
  for (const [name, shape] of shapes) {
    const found = tensors.get(name);
    if (!found) {
      const isOptional = name === dropPathTensors[0] && !tensors.has(dropPathTensors[1]);
      if (!/^(input|param)\./.test(name) || isOptional) continue;
      throw unusable(path, `it has no tensor ${name}`);
    }
    const isLabels = name === "input.labels";
    const dtypes = isLabels ? ["I32", "F32"] : ["F32"];
    if (!dtypes.includes(found.dtype)) {
      throw unusable(path, `its ${name} is ${found.dtype}, not ${dtypes.join(" or ")}`);
    }
    if (`${found.shape}` !== `${shape}`) {
      throw unusable(path, `its ${name} has the shape [${found.shape}], the model's [${shape}]`);
    }
    const numbers = found.data as Float32Array | Int32Array;
    const isFine = isLabels
      ? (value: number) => Number.isInteger(value) && value >= 0 && value < config.numClasses
      : Number.isFinite;
    const wrong = numbers.find((value) => !isFine(value));
    if (wrong === undefined) continue;
    const what = isLabels ? `a class of 0 to ${config.numClasses - 1}` : "a finite number";
    throw unusable(path, `its ${name} holds ${wrong}, which is not ${what}`);
  }
  if (batch === 0) throw unusable(path, "it has no images");
  const unknown = [...tensors.keys()].find((name) => !shapes.has(name));
  if (unknown !== undefined) throw unusable(path, `it has a tensor ${shown(unknown)}`);
  if (![...tensors.keys()].some((name) => /^(output|grad|adamw|adamw_tfa)\./.test(name))) {
    throw unusable(path, "it holds no reference output, so there is nothing to compare");
  }
}

function unusable(path: string, fault: string): UserError {
  return new UserError(`${path} is no file of reference values that can be used: ${fault}.`);
}

function parameters(tensors: Map<string, TensorData>) {
  const own = [...tensors].filter(([name]) => name.startsWith("param."));
  return new Map(own.map(([name, { shape, data }]) => [
    name.slice("param.".length),
    { shape, data: data as Float32Array },
  ]));
}

/** A tensor of a file that has been checked. */
function tensorOf(tensors: ReadonlyMap<string, TensorData>, name: string): tf.Tensor {
  const { data, shape } = tensors.get(name)!;
  return tf.tensor(data as Float32Array | Int32Array, [...shape]);
}

function summary(errors: TensorError[]): string[] {
  const groups = Map.groupBy(errors, ({ name }) => {
    return name.startsWith("output.") ? name : name.split(".")[0]!;
  });
  return [...groups].map(([group, list]) => {
    const absolute = Math.max(...list.map((error) => error.absolute));
    const worst = list.reduce((a, b) => shareOfTolerance(b) > shareOfTolerance(a) ? b : a);
    const verdict = failures(list).length === 0 ? "ok" : `ABOVE ${worst.tolerance}`;
    return `${group.padEnd(28)} ${String(list.length).padStart(4)} tensors  ` +
      `absolute ${absolute.toExponential(2)}  relative ${worst.relative.toExponential(2)}  ` +
      `${verdict}${list.length > 1 ? `  (worst: ${worst.name})` : ""}`;
  });
}

if (import.meta.main) {
  const { countOf, newCommand, parseArguments, runTask } = await import("../tasks/cli.ts");
  const { print } = await import("../tasks/output.ts");
  await runTask(async () => {
    const command = newCommand("parity", "Compare a model with reference values")
      .argument("<file>", "safetensors file of reference values, or the folder of a foreign model")
      .option("--num-heads <n>", "attention heads of a model whose files do not say how many")
      .option("--backend <name>", "auto, webgpu, wasm or cpu", "auto");
    parseArguments(command);
    const { backend, numHeads } = command.opts();
    const heads = numHeads === undefined ? undefined : countOf("--num-heads", numHeads, "heads");
    const choice = await selectBackend(backend);
    print(choice.reason);
    const errors = await parityErrors(command.args[0]!, { numHeads: heads, onNotice: print });
    print(summary(errors).join("\n"));
    if (failures(errors).length > 0) Deno.exit(1);
  });
}
