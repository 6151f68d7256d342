/** Finding out what a report shows of a trained model. */
import { tf } from "../tfjs.ts";
import { tensorsOf } from "../capture/repeated.ts";
import type { TestResults } from "../checkpoint/test_results.ts";
import type { WeightsState } from "../checkpoint/training_state.ts";
import type { RunConfig } from "../config/run.ts";
import type { ImageDataset, ImageSplit } from "../data/dataset.ts";
import { limitSplit } from "../data/dataset.ts";
import { positionEmbeddings } from "../layers/position_embeddings.ts";
import { architectureOf } from "../models/architecture.ts";
import { attentionRollout } from "../models/attention_rollout.ts";
import type { Example, TestFindings, WeightFindings } from "../report/findings.ts";
import { filterPictures, positionSimilarity } from "../report/weight_findings.ts";
import { DeviceSplit } from "./batches.ts";
import { evaluateGuesses, type EvaluateOptions, type Guesses, sumsOf } from "./evaluate.ts";
import { metricsOf } from "./metrics.ts";
import { picturesOf, subset } from "./pictures_of_split.ts";

/** Examples of a kind. */
const mostExamples = 10;
/** Guesses of an example. */
const mostGuesses = 3;

/** What is asked for. */
export interface FindingsOptions extends EvaluateOptions {
  config: RunConfig;
  /** The model with the weights of `state`. */
  model: tf.LayersModel;
  state: WeightsState;
  dataset: ImageDataset;
  /** What is known of the test images already; what is of other weights or images does not count. */
  known?: TestResults;
  /** The most images to test where that is not known; all by default. */
  most?: number;
}

/** Tests a model where that is not known yet, and looks closer at some of the images. */
export async function findTestResults(
  { config, model, state, dataset, known, most = 0, ...options }: FindingsOptions,
): Promise<TestFindings> {
  const images = limitSplit(dataset.test, config.limit);
  const isOfThese = known?.step === state.step && known.identity === dataset.identity &&
    known.guesses.length === images.count;
  const results = isOfThese
    ? known
    : await tested(model, limitSplit(images, most), state, dataset, options);
  const { guesses, losses, loss, accuracy, top5 } = results;
  const { labels, count } = images;
  const all = Array.from(guesses.keys());
  const isRight = (i: number) => guesses[i] === labels[i];
  const examples = (indices: number[]) => examplesOf(indices, images, config, model, state);
  const surprising = all.toSorted((a, b) => (losses[b] ?? Infinity) - (losses[a] ?? Infinity))
    .filter((i) => !isRight(i)).slice(0, mostExamples);
  return {
    result: { loss: loss ?? NaN, accuracy, top5 },
    ...{ tested: guesses.length, count, guesses },
    classNames: state.classNames,
    superclasses: dataset.superclasses,
    labels: Array.from(guesses, (_, i) => labels[i]!),
    inTop5: Array.from(results.inTop5, Number),
    right: await examples(spread(all.filter(isRight))),
    wrong: await examples(spread(all.filter((i) => !isRight(i)))),
    surprising: await examples(surprising),
  };
}

/** Results of a test as a run's folder holds them. */
export function testResultsOf(
  { statistics, guesses, probabilities }: Guesses,
  step: number,
  identity: string,
): TestResults {
  const { loss, accuracy, top5 } = metricsOf(sumsOf(statistics));
  const column = (at: number) =>
    Array.from({ length: guesses.length }, (_, i) => statistics[3 * i + at]!);
  return {
    ...{ step, identity, loss: finite(loss), accuracy, top5 },
    guesses: [...guesses],
    probabilities: [...probabilities],
    losses: column(0).map(finite),
    inTop5: column(2).join(""),
  };
}

async function tested(
  model: tf.LayersModel,
  images: ImageSplit,
  { preprocessing, step }: WeightsState,
  { identity }: ImageDataset,
  options: EvaluateOptions,
): Promise<TestResults> {
  const split = new DeviceSplit(images, preprocessing);
  try {
    return testResultsOf(await evaluateGuesses(model, split, options), step, identity);
  } finally {
    split.dispose();
  }
}

/** At most ten, as far from each other as they can be. */
function spread(indices: number[]): number[] {
  const step = Math.max(1, indices.length / mostExamples);
  return Array.from(
    { length: Math.min(mostExamples, indices.length) },
    (_, i) => indices[Math.floor(i * step)]!,
  );
}

/** What the model makes of so many images, which all fit into one batch. */
async function examplesOf(
  indices: number[],
  images: ImageSplit,
  config: RunConfig,
  model: tf.LayersModel,
  { preprocessing, classNames }: WeightsState,
): Promise<Example[]> {
  if (indices.length === 0) return [];
  const { imageSize } = config;
  const { classToken } = architectureOf(config).pooling;
  const few = subset(images, indices);
  const split = new DeviceSplit(few.images, preprocessing);
  try {
    await split.ready(few.indices);
    const values = split.evaluationValues(few.indices);
    const [inputs, probabilities, rollouts] = tf.tidy(() => {
      const batch = split.batch(tensorsOf<Record<string, tf.Tensor>>(values), imageSize).images;
      const logits = model.apply(batch, { training: false }) as tf.Tensor2D;
      return [batch, tf.softmax(logits), attentionRollout(model, batch, classToken)];
    });
    const [pixels, shares, attention] = await Promise.all(
      [inputs!, probabilities!, rollouts!].map((tensor) => tensor.data<"float32">()),
    );
    tf.dispose([inputs!, probabilities!, rollouts!]);
    const row = (data: Float32Array, i: number) => {
      const length = data.length / indices.length;
      return data.slice(i * length, (i + 1) * length);
    };
    const pictures = picturesOf(pixels!, config, preprocessing);
    return indices.map((index, i) => ({
      picture: pictures[i]!,
      label: classNames[images.labels[index]!]!,
      guesses: likeliest(row(shares!, i), classNames),
      attention: row(attention!, i),
    }));
  } finally {
    split.dispose();
  }
}

function likeliest(probabilities: Float32Array, classNames: readonly string[]): Example["guesses"] {
  return Array.from(probabilities.keys())
    .sort((a, b) => probabilities[b]! - probabilities[a]! || a - b)
    .slice(0, mostGuesses)
    .map((k) => ({ className: classNames[k]!, probability: probabilities[k]! }));
}

/** Looks at the weights that stand for places and for what is seen first. */
export async function findWeights(config: RunConfig, state: WeightsState): Promise<WeightFindings> {
  const { tokenizer, side, pooling } = architectureOf(config);
  const { learned, fixed } = positionEmbeddings[config.positionEmbedding];
  const dim = config.projectionDim;
  const first = pooling.classToken ? dim : 0;
  const embedding = learned
    ? state.weights.get(`${tokenizer.encoder}.position_embedding`)!.data.subarray(first)
    : fixed?.(side, dim);
  const { kernel, ...filters } = tokenizer.filters(config);
  const { data } = state.weights.get(kernel)!;
  return {
    positions: embedding ? { side, similarity: positionSimilarity(embedding, side * side) } : null,
    filters: await filterPictures({ ...filters, channels: config.channels, data }),
  };
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
