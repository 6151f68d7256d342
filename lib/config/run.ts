/**
 * The schema of a run: every field, its range and its default, and the presets.
 *
 * One flat object, because every field is also a command-line option and a JSON key of that name.
 */
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";
import { nearest } from "../nearest.ts";

const count = z.int().min(1);
const rate = z.number().min(0).lt(1);

/** The fields that decide a model's shape and its behaviour in training. */
export const modelFields = {
  imageSize: count.describe("side of the square input image after resizing, in pixels"),
  channels: count.describe("channels of an image"),
  patchSize: count.describe("side of a patch in pixels; must divide imageSize"),
  projectionDim: count.describe("width of a token"),
  numHeads: count.describe("attention heads"),
  keyDim: count.max(128).describe("width of one head's queries, keys and values"),
  transformerLayers: count.describe("transformer blocks"),
  transformerUnits: z.array(count).min(1).describe(
    "widths of a block's MLP; the last must be projectionDim",
  ),
  mlpHeadUnits: z.array(count).describe("widths of the hidden layers before the classifier"),
  numClasses: count.min(2).describe("classes"),
  pooling: z.enum(["flatten", "mean", "token"]).describe(
    "how tokens become one vector: all side by side, their mean, or a learned class token",
  ),
  attentionDropout: rate.describe("dropout of the attention weights"),
  mlpDropout: rate.describe("dropout after each layer of a block's MLP"),
  headDropout: rate.describe("dropout after pooling and after each hidden layer of the head"),
  layerNormEpsilon: z.number().positive().describe("added to the variance in LayerNorm"),
};

/** The fields that decide what is trained on, and how. */
export const trainingFields = {
  dataset: z.enum(["cifar100", "cifar10", "shapes"]).describe("which data set"),
  labels: z.enum(["fine", "coarse"]).describe("which labels of CIFAR-100"),
  limit: z.int().min(0).describe("use only the first N records of each split; 0 means all"),
  validationSplit: rate.describe("share of the train records, from their end, held out"),
  batchSize: count.describe("images a step"),
  epochs: count.describe("passes over the training images"),
  seed: z.int().min(0).max(2 ** 31 - 1).describe("the one source of all randomness"),
  flip: z.boolean().describe("augmentation: mirror half of the images"),
  rotation: z.number().min(0).max(1).describe(
    "augmentation: largest rotation either way, as a fraction of a full turn",
  ),
  zoom: z.number().min(0).lt(1).describe(
    "augmentation: largest zoom either way, height and width independent",
  ),
  learningRate: z.number().positive().describe("step size of AdamW"),
  weightDecay: z.number().min(0).describe("weight decay of AdamW"),
  decayConvention: z.enum(["tfa", "keras"]).describe(
    "tfa: var -= weightDecay * var; keras: var -= learningRate * weightDecay * var",
  ),
  decayExclude: z.array(z.string()).describe(
    "variables whose name contains one of these are not decayed",
  ),
  beta1: rate.describe("decay rate of the first moment"),
  beta2: rate.describe("decay rate of the second moment"),
  epsilon: z.number().positive().describe("added to the root of the second moment"),
  // With a default, so that the configurations of runs from before it are still read.
  clipNorm: z.number().min(0).default(0).describe(
    "largest global norm of the gradients, larger ones are scaled down to it; 0 means no clipping",
  ),
};

const modelSchema = z.strictObject(modelFields);
const runSchema = z.strictObject({ ...modelFields, ...trainingFields });

/** Type and description of every field of a run, for help texts and option parsers. */
export const runFieldTypes: Record<string, { type: string; description: string }> = Object
  .fromEntries(
    Object.entries(runSchema.shape).map(([key, field]) => {
      const json = z.toJSONSchema(field) as {
        type: string;
        enum?: string[];
        items?: { type: string };
      };
      const list = json.items?.type === "string" ? "names" : "numbers";
      const type = json.enum?.join("|") ?? (json.type === "array" ? list : json.type);
      return [key, { type, description: field.description ?? "" }];
    }),
  );

/** A Vision Transformer's configuration. */
export type ViTConfig = z.infer<typeof modelSchema>;
/** Everything that decides the numbers of a run. */
export type RunConfig = z.infer<typeof runSchema>;

/**
 * The Keras example "Image classification with Vision Transformer", every parameter.
 * Published there: 54.28 % val_accuracy, 55.14 % test top-1, 81.86 % top-5 after 100 epochs.
 */
const kerasCifar100: RunConfig = {
  imageSize: 72,
  channels: 3,
  patchSize: 6,
  projectionDim: 64,
  numHeads: 4,
  keyDim: 64,
  transformerLayers: 8,
  transformerUnits: [128, 64],
  mlpHeadUnits: [2048, 1024],
  numClasses: 100,
  pooling: "flatten",
  attentionDropout: 0.1,
  mlpDropout: 0.1,
  headDropout: 0.5,
  layerNormEpsilon: 1e-6,
  dataset: "cifar100",
  labels: "fine",
  limit: 0,
  validationSplit: 0.1,
  batchSize: 256,
  epochs: 100,
  seed: 1,
  flip: true,
  rotation: 0.02,
  zoom: 0.2,
  learningRate: 1e-3,
  weightDecay: 1e-4,
  decayConvention: "tfa",
  decayExclude: [],
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-7,
  clipNorm: 0,
};

/** The presets by name. */
export const presets = {
  "keras-cifar100": kerasCifar100,
  /**
   * Small enough for a processor: 147,748 parameters, 64 tokens. 25.5 % val_accuracy on CIFAR-100
   * after 3 epochs in 6.5 minutes, two processor cores: `deno task train --preset tiny --epochs 3`.
   */
  tiny: {
    ...kerasCifar100,
    imageSize: 32,
    patchSize: 4,
    keyDim: 16,
    transformerLayers: 4,
    mlpHeadUnits: [],
    pooling: "mean",
    headDropout: 0,
    batchSize: 128,
    epochs: 5,
  },
} as const satisfies Record<string, RunConfig>;

/** A preset's name. */
export type PresetName = keyof typeof presets;

/** The preset of that name; an unknown name is a {@linkcode UserError} that names the nearest. */
export function preset(name: string): RunConfig {
  if (Object.hasOwn(presets, name)) return structuredClone(presets[name as PresetName]);
  throw new UserError(`There is no preset "${name}"${didYouMean(name, Object.keys(presets))}`);
}

/**
 * Checks a whole run configuration.
 * @throws {UserError} naming the first wrong field, its value and what it may be.
 */
export function parseRunConfig(value: unknown): RunConfig {
  const config = parseFields(runSchema, value);
  checkShape(config);
  return config;
}

/**
 * Checks a model configuration; keys of {@linkcode RunConfig} that are no model fields are refused.
 * @throws {UserError} naming the first wrong field, its value and what it may be.
 */
export function parseViTConfig(value: unknown): ViTConfig {
  const config = parseFields(modelSchema, value);
  checkShape(config);
  return config;
}

/** The model's part of a run configuration. */
export function modelConfigOf(config: RunConfig): ViTConfig {
  const entries = Object.keys(modelFields).map((key) => [key, config[key as keyof ViTConfig]]);
  return Object.fromEntries(entries) as ViTConfig;
}

/** `; did you mean "x"? Known are a, b, c.`, where x is near what was given; else the known ones alone. */
export function didYouMean(wrong: string, known: readonly string[]): string {
  const near = nearest(wrong, known);
  const list = known.join(", ");
  return near === undefined
    ? `; known are ${list}.`
    : `; did you mean "${near}"? Known are ${list}.`;
}

function parseFields<T>(schema: z.ZodType<T> & { shape: object }, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { issues } = result.error;
  // A misspelt key also leaves the right one out; the spelling is what to mend.
  const issue = issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0]!;
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0]!;
    throw new UserError(
      `Unknown configuration key "${key}"${didYouMean(key, Object.keys(schema.shape))}`,
    );
  }
  const path = issue.path.join(".");
  const found = issue.path.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
  throw new UserError(
    path === ""
      ? `The configuration must be a JSON object, not ${JSON.stringify(value)}.`
      : `Configuration key "${path}" cannot be ${shown(found)}: ${
        issue.message.replace(/^Invalid input: /, "")
      }.`,
  );
}

function shown(value: unknown): string {
  // JSON would call NaN and Infinity null.
  return typeof value === "number" ? String(value) : JSON.stringify(value) ?? "left out";
}

function checkShape(config: ViTConfig): void {
  if (config.imageSize % config.patchSize !== 0) {
    throw new UserError(
      `imageSize ${config.imageSize} is not divisible by patchSize ${config.patchSize}; ` +
        `choose a patchSize among ${divisors(config.imageSize).join(", ")}.`,
    );
  }
  const last = config.transformerUnits.at(-1);
  if (last !== config.projectionDim) {
    throw new UserError(
      `The last of transformerUnits is ${last} but must equal projectionDim ` +
        `${config.projectionDim}, because the MLP's output is added to the tokens.`,
    );
  }
}

function divisors(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
}
