/**
 * Memory of a training step, told from the configuration alone: what stays (weights, moments) and the
 * most that lives at one moment of a step (what the backward pass wants of the forward pass, and
 * gradients).
 *
 * On webgpu a captured step gives memory on as soon as a tensor is no longer wanted, so activations
 * go while gradients come; on wasm and cpu the tape holds both to the end. Blocks are alike, so the
 * most lives where the backward pass begins, in the attention of the last block, when the head's
 * gradients are made, or in that of the first, when all are.
 */
import type { RunConfig } from "../config/run.ts";
import { keepsWeights } from "../kernels/attention/attention.ts";
import { architectureOf } from "../models/architecture.ts";
import { adapterShapes } from "../models/lora.ts";
import { isOfHead, isTrained } from "../models/trained.ts";

/** Bytes of a training step by what they are for. */
export interface StepMemory {
  /** Images of the batch, or of the part that a step takes at a time. */
  batch: number;
  /** All weights, frozen ones too, and their running average where there is one. */
  weights: number;
  /** Of what is trained; twice that where parts of a batch are summed. */
  gradients: number;
  /** Adam's two, of what is trained. */
  moments: number;
  /** The most of that many images. */
  activations: number;
  /** The most at one moment, all together; less than the sum of the parts, where they share memory. */
  total: number;
}

/** What {@linkcode stepMemory} may be told. */
export interface StepMemoryOptions {
  /** Images; by default those of the configuration's batch, or of its parts. */
  batch?: number;
  /** Whether the step is captured, as on webgpu, the default. */
  isCaptured?: boolean;
}

/** Memory of a step. */
export function stepMemory(
  config: RunConfig,
  { batch = config.batchSize / config.accumulate, isCaptured = true }: StepMemoryOptions = {},
): StepMemory {
  const shapes = architectureOf(config).weights;
  const all = [...shapes, ...adapterShapes(shapes, config)];
  const bytesOf = (weights: typeof all) =>
    weights.reduce((sum, [, shape]) => sum + 4 * sizeOf(shape), 0);
  const learned = all.filter(([name]) => isTrained(name, config));
  const trained = bytesOf(learned);
  const ofHead = bytesOf(learned.filter(([name]) => isOfHead(name)));
  const weights = bytesOf(all) + (config.ema > 0 ? trained : 0);
  const moments = 2 * trained;
  // The sums of the parts before live through each part.
  const summed = config.accumulate > 1 ? trained : 0;
  const gradients = trained + summed;
  const { begin, end } = numbersOf(config, batch, isCaptured);
  const activations = 4 * batch * begin;
  const most = isCaptured
    ? Math.max(activations + ofHead + summed, 4 * batch * end + gradients)
    : activations + gradients;
  return { batch, weights, gradients, moments, activations, total: weights + moments + most };
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** Numbers of one image that live at once: where the backward pass begins, and where it ends. */
function numbersOf(
  config: RunConfig,
  batch: number,
  isCaptured: boolean,
): { begin: number; end: number } {
  const { tokenizer, tokens, side, features, embedding, head, pooling } = architectureOf(config);
  const { imageSize, channels, projectionDim, transformerLayers, freeze, lora } = config;
  const wide = tokens * projectionDim;
  const block = blockNumbers(config, tokens, batch, isCaptured);
  const isWhole = freeze === "none" && lora === 0;
  const kept = freeze === "backbone" ? transformerLayers : Number(freeze);
  const blocks = isWhole || lora > 0 ? transformerLayers : transformerLayers - kept;

  // Patches, as the first kernel's gradient wants them; others are normalized or filtered besides.
  const largest = tokenizer.largest?.(config).shape;
  const patches = embedding.reduce((sum, { inner }) => sum + side ** 2 * inner, 0);
  const embedded = largest ? 2 * sizeOf(largest) : patches;
  const tokenizing = imageSize ** 2 * channels + embedded + wide;

  const dense = head.reduce((sum, { inner, columns }) => sum + inner + 2 * columns, features);
  // The tokens that the last normalization and what follows it take.
  const tail = dense + (blocks > 0 || pooling.weights ? wide : 0);
  const saved = (isWhole ? embedded : 0) + blocks * block.saved + tail;
  // Forward, of what saves nothing.
  const passing = Math.max(tokenizing, isWhole ? 0 : block.forward);
  if (blocks === 0) return { begin: Math.max(passing, saved), end: tail };
  const inAttention = block.backward - block.mlp;
  return {
    // In the head their gradient stands beside the tokens, twice while it is passed on.
    begin: Math.max(passing, saved + 2 * wide, saved - tail + inAttention),
    end: (isWhole ? embedded : 0) + block.saved + inAttention,
  };
}

/** Numbers of one image in one block. */
interface BlockNumbers {
  /** Saved for the backward pass, */
  saved: number;
  /** of these by the MLP, which the backward pass has behind it when it comes to the attention. */
  mlp: number;
  /** Gradients in the attention's backward pass: four as wide as queries, two as tokens. */
  backward: number;
  /** At once in a forward pass that saves nothing. */
  forward: number;
}

function blockNumbers(
  config: RunConfig,
  tokens: number,
  batch: number,
  isCaptured: boolean,
): BlockNumbers {
  const { projectionDim: dim, numHeads, keyDim, transformerUnits: units, lora } = config;
  const inner = numHeads * keyDim;
  const scaled = config.layerScale > 0 ? dim : 0;
  const sum = (widths: number[]) => widths.reduce((a, b) => a + b, 0);
  const isLastSloped = config.mlpLastActivation || config.mlpDropout > 0;
  const slopes = sum(isLastSloped ? units : units.slice(0, -1));
  // A kernel that stays as it is wants no input for its gradient; the tape holds it all the same.
  const inputs = lora > 0 && isCaptured ? 0 : sum([dim, ...units.slice(0, -1)]);
  const mlp = dim + 2 + inputs + slopes + scaled;
  // What is normalized, with its moments and its result; queries, keys, values and what is attended.
  const attention = 2 * dim + 2 + 4 * inner + (config.localityAttention ? inner : 0) + scaled;
  const weights = numHeads * tokens;
  const held = isCaptured ? 1 : keepsWeights(batch * weights * tokens) ? tokens : 0;
  return {
    saved: tokens * (attention + mlp) + weights * held,
    mlp: tokens * mlp,
    backward: tokens * (4 * inner + 2 * dim),
    forward: tokens *
      (2 * dim + Math.max(4 * inner, ...units.map((u, i) => u + (units[i + 1] ?? 0)))),
  };
}
