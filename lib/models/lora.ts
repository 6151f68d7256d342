/**
 * Low-rank adaptation (Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models"): the
 * kernels of queries and values stay as they are, and each gets two small ones, A `[dim, rank]` and
 * B `[rank, units]`, that are trained: W + alpha / rank * A @ B takes the kernel's place.
 *
 * As in PEFT, the library of Hugging Face: these two kernels, as its default for a ViT, the scale
 * alpha / rank, A uniform within 1 / sqrt(dim) either way and B zeros, so that a run begins from the
 * model as it was. A and B stand here as kernels do, turned beside PEFT's.
 */
import type { GivenWeights } from "../layers/layer.ts";

/** The fields of a run that decide it. */
export interface LoraFields {
  /** The rank; 0 for none. */
  lora: number;
  /** alpha; 0 for the rank, with which the scale is 1. */
  loraAlpha: number;
}

/** What A @ B is multiplied by. */
export function loraScale({ lora, loraAlpha }: LoraFields): number {
  return (loraAlpha || lora) / lora;
}

/** Whether a weight of that plain name is an A or a B. */
export function isAdapter(name: string): boolean {
  return /\.lora_[ab]$/.test(name);
}

/**
 * The shapes of A and B by their plain names, such as `blocks.0.attention.query.lora_a`.
 * @param weights shapes of the model's weights by plain name
 */
export function adapterShapes(
  weights: ReadonlyMap<string, readonly number[]>,
  { lora }: Pick<LoraFields, "lora">,
): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  if (lora === 0) return shapes;
  for (const [name, [dim, units]] of weights) {
    const [, projection] = /^(blocks\.\d+\.attention\.(?:query|value))\.kernel$/.exec(name) ?? [];
    if (projection === undefined) continue;
    shapes.set(`${projection}.lora_a`, [dim!, lora]).set(`${projection}.lora_b`, [lora, units!]);
  }
  return shapes;
}

/** Weights with each A @ B added to its kernel, for models without; the same ones where there is none. */
export function mergeAdapters<W extends GivenWeights>(weights: W, fields: LoraFields): W {
  if (![...weights.keys()].some(isAdapter)) return weights;
  const merged = new Map([...weights].filter(([name]) => !isAdapter(name)));
  const scale = loraScale(fields);
  for (const [name, a] of weights) {
    if (!name.endsWith(".lora_a")) continue;
    const b = weights.get(name.replace(/a$/, "b"))!;
    const kernelName = name.replace(/lora_a$/, "kernel");
    const { shape, data } = weights.get(kernelName)!;
    merged.set(kernelName, { shape, data: sumOf(data, a.data, b.data, a.shape[1]!, scale) });
  }
  return merged as GivenWeights as W;
}

/** kernel + scale * a @ b, rounded once. */
function sumOf(
  kernel: Float32Array,
  a: Float32Array,
  b: Float32Array,
  rank: number,
  scale: number,
): Float32Array {
  const units = b.length / rank;
  const sums = new Float32Array(kernel.length);
  const row = new Float64Array(units);
  for (let i = 0; i * units < kernel.length; i++) {
    row.set(kernel.subarray(i * units, (i + 1) * units));
    for (let k = 0; k < rank; k++) {
      const factor = scale * a[i * rank + k]!;
      for (let j = 0; j < units; j++) row[j]! += factor * b[k * units + j]!;
    }
    sums.set(row, i * units);
  }
  return sums;
}

/** Merged weights for a model with adapters, which then add nothing. */
export function withIdleAdapters<W extends GivenWeights>(
  weights: W,
  fields: Pick<LoraFields, "lora">,
): W {
  const shapes = new Map([...weights].map(([name, { shape }]) => [name, shape]));
  const idle = [...adapterShapes(shapes, fields)].map(([name, shape]) => {
    return [name, { shape, data: new Float32Array(shape[0]! * shape[1]!) }] as const;
  });
  return (idle.length === 0 ? weights : new Map([...weights, ...idle])) as W;
}
