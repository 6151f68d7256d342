/**
 * The tensors of a model in a layout, and the way of each to our weights and back.
 *
 * Their dense layers hold `[out, in]`, ours `[in, out]`; their patch kernels are convolutions
 * `[dim, channels, row, column]`, ours `[row * column * channel, dim]`; fused queries, keys and values
 * are thirds of the rows.
 */
import type { ViTConfig } from "../config/model.ts";
import { architectureOf } from "../models/architecture.ts";
import { type LayoutNames, pairOf } from "./layouts.ts";

/** How a tensor's numbers lie. */
type Form =
  /** In the order of ours. */
  | "same"
  /** `[out, in]`. */
  | "dense"
  /** `[dim, channels, row, column]`. */
  | "patches"
  /** Positions of the patches alone; ours have zeros for the learned tokens before them. */
  | "patchPositions";

/** A tensor of a file, and the weights of ours that it holds, one after another. */
export interface ForeignTensor {
  name: string;
  shape: readonly number[];
  ours: readonly { name: string; shape: readonly number[] }[];
  form: Form;
}

/** What a file has beyond what a configuration says. */
export interface FileTraits {
  /** Whether there is a classifier; a backbone has none. */
  hasClassifier: boolean;
  /** Whether positions are those of the patches alone, as in timm's DeiT III. */
  hasPatchPositions: boolean;
}

/** All tensors that a model has in a layout, in the order of the model. */
export function foreignTensors(
  config: ViTConfig,
  names: LayoutNames,
  { hasClassifier, hasPatchPositions }: FileTraits = {
    hasClassifier: true,
    hasPatchPositions: false,
  },
): ForeignTensor[] {
  const { projectionDim: dim, patchSize, channels, transformerLayers } = config;
  const { weights, side, tokens, classToken, heads, features } = architectureOf(config);
  const encoder = "patch_encoder";
  const list: ForeignTensor[] = [];
  const add = (name: string, form: Form, shape: readonly number[], ...ours: string[]) => {
    const known = ours.map((own) => ({ name: own, shape: weights.get(own)! }));
    list.push({ name, form, shape, ours: known });
  };
  const dense = (stem: string, inner: number, columns: number, ours: string) => {
    const { weight, bias } = pairOf(stem);
    add(weight, "dense", [columns, inner], `${ours}.kernel`);
    add(bias, "same", [columns], `${ours}.bias`);
  };
  const norm = (stem: string, width: number, ours: string) => {
    const { weight, bias } = pairOf(stem);
    add(weight, "same", [width], `${ours}.gamma`);
    add(bias, "same", [width], `${ours}.beta`);
  };

  if (classToken) add(names.classToken, "same", [1, 1, dim], `${encoder}.class_token`);
  if (config.distillation !== "none") {
    add(names.distillationToken!, "same", [1, 1, dim], `${encoder}.distillation_token`);
  }
  const positions = `${encoder}.position_embedding`;
  if (hasPatchPositions) add(names.position, "patchPositions", [1, side ** 2, dim], positions);
  else add(names.position, "same", [1, tokens, dim], positions);
  const patches = pairOf(names.patches);
  const kernel = [dim, channels, patchSize, patchSize];
  add(patches.weight, "patches", kernel, `${encoder}.projection.kernel`);
  add(patches.bias, "same", [dim], `${encoder}.projection.bias`);

  const inner = config.numHeads * config.keyDim;
  const middle = config.transformerUnits[0]!;
  const parts = ["query", "key", "value"] as const;
  for (let i = 0; i < transformerLayers; i++) {
    const theirs = names.block(i);
    const ours = `blocks.${i}`;
    norm(`${theirs}${names.norm1}`, dim, `${ours}.norm1`);
    const projections = parts.map((part) => `${ours}.attention.${part}`);
    if ("fused" in names.attention) {
      const { weight, bias } = names.attention.fused;
      const kernels = projections.map((name) => `${name}.kernel`);
      add(`${theirs}${weight}`, "dense", [3 * inner, dim], ...kernels);
      const biases = projections.map((name) => `${name}.bias`);
      if (config.qkvBias) add(`${theirs}${bias}`, "same", [3 * inner], ...biases);
    } else {
      for (const [at, stem] of names.attention.each.entries()) {
        const { weight, bias } = pairOf(`${theirs}${stem}`);
        add(weight, "dense", [inner, dim], `${projections[at]}.kernel`);
        if (config.qkvBias) add(bias, "same", [inner], `${projections[at]}.bias`);
      }
    }
    dense(`${theirs}${names.output}`, inner, dim, `${ours}.attention.output`);
    norm(`${theirs}${names.norm2}`, dim, `${ours}.norm2`);
    dense(`${theirs}${names.mlp[0]}`, dim, middle, `${ours}.mlp.0`);
    dense(`${theirs}${names.mlp[1]}`, middle, dim, `${ours}.mlp.1`);
    if (config.layerScale > 0) {
      for (const [at, part] of ["attention", "mlp"].entries()) {
        add(`${theirs}${names.scales![at]}`, "same", [dim], `${ours}.${part}.layer_scale.gamma`);
      }
    }
  }
  const lastNorm = config.finalNorm === "pooled" ? names.pooledNorm! : names.norm;
  norm(lastNorm, config.finalNorm === "pooled" ? features : dim, "norm");
  if (!hasClassifier) return list;
  const stems = heads === 2 ? names.classifiers! : [names.classifier];
  for (const [at, ours] of ["classifier", "classifier.distillation"].slice(0, heads).entries()) {
    dense(stems[at]!, features / heads, config.numClasses, ours);
  }
  return list;
}

/** Our weights out of a file's tensor, by name. */
export function toOurs(
  { ours, form, shape }: ForeignTensor,
  data: Float32Array<ArrayBuffer>,
): [name: string, weight: { shape: readonly number[]; data: Float32Array<ArrayBuffer> }][] {
  if (form === "patchPositions") {
    const [{ name, shape }] = ours as [ForeignTensor["ours"][number]];
    const all = new Float32Array(shape[0]! * shape[1]!);
    all.set(data, all.length - data.length);
    return [[name, { shape, data: all }]];
  }
  const part = data.length / ours.length;
  return ours.map(({ name, shape: own }, i) => {
    const numbers = ours.length === 1 ? data : data.subarray(i * part, (i + 1) * part);
    if (form === "dense") {
      const [inner, columns] = own as [number, number];
      return [name, { shape: own, data: transposed(numbers, columns, inner) }];
    }
    if (form === "patches") return [name, { shape: own, data: patchKernel(numbers, shape) }];
    return [name, { shape: own, data: ours.length === 1 ? numbers : numbers.slice() }];
  });
}

/** A file's tensor out of our weights. */
export function toTheirs(
  { ours, form, shape }: ForeignTensor,
  dataOf: (name: string) => Float32Array,
): Float32Array<ArrayBuffer> {
  const size = shape.reduce((product, extent) => product * extent, 1);
  const data = new Float32Array(size);
  const part = size / ours.length;
  for (const [i, { name, shape: own }] of ours.entries()) {
    const numbers = dataOf(name);
    if (form === "patchPositions") data.set(numbers.subarray(numbers.length - size));
    else if (form === "patches") data.set(convolution(numbers, shape));
    else if (form === "dense") data.set(transposed(numbers, own[0]!, own[1]!), i * part);
    else data.set(numbers, i * part);
  }
  return data;
}

/** Side of a square that stays in the processor's first cache, rows and columns alike. */
const TILE = 32;

/** `[rows, columns]` as `[columns, rows]`. */
function transposed(from: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const to = new Float32Array(from.length);
  for (let top = 0; top < rows; top += TILE) {
    for (let left = 0; left < columns; left += TILE) {
      const bottom = Math.min(rows, top + TILE);
      const right = Math.min(columns, left + TILE);
      for (let row = top; row < bottom; row++) {
        for (let column = left; column < right; column++) {
          to[column * rows + row] = from[row * columns + column]!;
        }
      }
    }
  }
  return to;
}

/** Calls `visit` with the place of each number in `[dim, c, y, x]` and in `[y * x * c, dim]`. */
function eachOfPatch(shape: readonly number[], visit: (theirs: number, ours: number) => void) {
  const [dim, channels, height, width] = shape as [number, number, number, number];
  let theirs = 0;
  for (let d = 0; d < dim; d++) {
    for (let c = 0; c < channels; c++) {
      for (let at = 0; at < height * width; at++) visit(theirs++, (at * channels + c) * dim + d);
    }
  }
}

function patchKernel(from: Float32Array, shape: readonly number[]): Float32Array<ArrayBuffer> {
  const to = new Float32Array(from.length);
  eachOfPatch(shape, (theirs, ours) => to[ours] = from[theirs]!);
  return to;
}

function convolution(from: Float32Array, shape: readonly number[]): Float32Array<ArrayBuffer> {
  const to = new Float32Array(from.length);
  eachOfPatch(shape, (theirs, ours) => to[theirs] = from[ours]!);
  return to;
}
