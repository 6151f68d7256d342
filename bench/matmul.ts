/** Every matrix product of a model's dense layers, forward and backward: ours beside tf.matMul. */
import type { RunConfig } from "../lib/config/run.ts";
import { architectureOf, type DenseLayers } from "../lib/models/architecture.ts";
import { matmul, matmulOverRows } from "../lib/kernels/matmul/matmul.ts";
import { tf } from "../lib/tfjs.ts";
import { deviceMs } from "./peak.ts";
import { median } from "./statistics.ts";

/** A dense layer as a product `[rows, inner] x [inner, columns]`. */
export interface DenseShape {
  name: string;
  rows: number;
  inner: number;
  columns: number;
  /** Layers that share their input, which our step computes together. */
  parts: number;
  /** Number of such groups in the model. */
  count: number;
  /** False for the first layer, whose input needs no gradient. */
  needsInputGradient: boolean;
}

/** One product, measured on both sides. */
export interface MatmulRow {
  name: string;
  /** forward: x k; input: dy k^T; kernel: x^T dy. */
  pass: "forward" | "input" | "kernel";
  /** Rows, what is summed over, and columns of a result, and how many parts there are. */
  shape: string;
  /** Number of times that a training step has it. */
  count: number;
  tfjsGflops: number;
  oursGflops: number;
  ratio: number;
}

/** Operations of a measurement that is long enough. */
const ENOUGH_FLOPS = 2e7;
const MOST_CALLS = 16;

/** The dense layers of a model, those of one shape together. */
function denseShapes(config: RunConfig): DenseShape[] {
  const { batchSize, transformerLayers } = config;
  const { embedding, block, head } = architectureOf(config);
  const shapeOf = (layers: DenseLayers, count: number) => {
    const { rows, inner, columns, parts, names } = layers;
    const short = (name: string) =>
      parts > 1 ? name.replace("attention.", "") : name.replace(".", " ");
    const name = names.map(short).join(", ");
    return { name, rows: rows * batchSize, inner, columns, parts, count };
  };
  return [
    ...embedding.map((layer) => {
      return { ...shapeOf(layer, 1), name: "patches", needsInputGradient: !layer.isFirst };
    }),
    ...[
      ...block.map((layers) => shapeOf(layers, transformerLayers)),
      ...head.map((layers) => shapeOf(layers, 1)),
    ].map((shape) => ({ ...shape, needsInputGradient: true })),
  ];
}

/**
 * Measures all of them on the current webgpu backend, interleaved, by timestamp query.
 *
 * @param repeats measurements of each side, of which the median counts
 */
export async function measureMatmuls(config: RunConfig, repeats: number): Promise<MatmulRow[]> {
  const rows: MatmulRow[] = [];
  for (const dense of denseShapes(config)) {
    for (const pass of ["forward", "input", "kernel"] as const) {
      if (pass === "input" && !dense.needsInputGradient) continue;
      rows.push(await measurePass(dense, pass, repeats));
    }
  }
  return rows;
}

async function measurePass(
  dense: DenseShape,
  pass: MatmulRow["pass"],
  repeats: number,
): Promise<MatmulRow> {
  const { name, rows, inner, columns, parts, count } = dense;
  const x: tf.Tensor2D = tf.fill([rows, inner], 0.5);
  const kernels = copies<tf.Tensor2D>(parts, () => tf.fill([inner, columns], 0.25));
  const dys = copies<tf.Tensor2D>(parts, () => tf.fill([rows, columns], 0.125));
  const pair = {
    forward: {
      shape: [rows, inner, columns],
      tfjs: () => kernels.map((kernel) => tf.matMul(x, kernel)),
      ours: () => matmul({ layout: "nn", a: x, b: kernels, rows, depth: inner, columns }),
    },
    input: {
      shape: [rows, columns, inner],
      tfjs: () => kernels.map((kernel, i) => tf.matMul(dys[i]!, kernel, false, true)),
      // The sum over the parts, for which tfjs would need additions.
      ours: () =>
        matmul({ layout: "nt", a: dys, b: kernels, rows, depth: columns, columns: inner }),
    },
    kernel: {
      shape: [inner, rows, columns],
      tfjs: () => dys.map((dy) => tf.matMul(x, dy, true, false)),
      ours: () =>
        matmulOverRows({ layout: "tn", a: x, b: dys, rows: inner, depth: rows, columns }, false),
    },
  }[pass];
  const flops = parts * 2 * rows * inner * columns;
  // One timestamp does not resolve a small product well.
  const calls = Math.max(1, Math.min(MOST_CALLS, Math.round(ENOUGH_FLOPS / flops)));
  const times: { tfjs: number[]; ours: number[] } = { tfjs: [], ours: [] };
  for (let i = 0; i <= repeats; i++) {
    for (const side of ["tfjs", "ours"] as const) {
      const ms = await deviceMs(() => {
        for (let call = 0; call < calls; call++) {
          for (const { dataId } of pair[side]()) tf.backend().disposeData(dataId);
        }
      });
      // The first run compiles the pipeline.
      if (i > 0) times[side].push(ms / calls);
    }
  }
  tf.dispose([x, ...kernels, ...dys]);
  const [tfjsMs, oursMs] = [median(times.tfjs), median(times.ours)];
  return {
    name,
    pass,
    shape: (parts === 1 ? "" : `${parts} of `) + pair.shape.join("x"),
    count,
    tfjsGflops: flops / tfjsMs / 1e6,
    oursGflops: flops / oursMs / 1e6,
    ratio: tfjsMs / oursMs,
  };
}

function copies<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}
