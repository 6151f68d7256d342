import { tf } from "../tfjs.ts";
import { webgpuBackend } from "../backend/compute.ts";
import { assertNumber } from "../checks.ts";
import { blend, exchange, type Pair } from "../kernels/optimizer/blend.ts";

/**
 * Exponential moving average of a model's weights (Polyak averaging), on the device.
 *
 * After update k, from 0, `average = d * average + (1 - d) * weight` with
 * `d = min(decay, (1 + k) / (10 + k))`: the warm-up of TensorFlow's ExponentialMovingAverage, without
 * which a short run's average would be of its first weights. Owns a tensor for each variable; call
 * `dispose`.
 *
 * @example
 * ```ts
 * import { selectBackend, tf, WeightAverage } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const weight = tf.variable(tf.tensor1d([0]));
 * const average = new WeightAverage([weight], 0.99);
 * weight.assign(tf.tensor1d([1]));
 * // The decay of the first update is a tenth.
 * average.update(tf.tensor1d(average.shares(0)));
 * console.log((await average.read()).get(weight.name)![0]!.toFixed(2)); // 0.90
 * ```
 */
export class WeightAverage {
  private readonly averages: tf.Tensor[];

  /**
   * Makes an average of variables.
   * @param variables their values of now are the average of no update
   * @param decay from 0 to below 1
   * @param restored averages to go on from, flat, by the variables' names
   * @throws {UserError} when the decay is out of its range
   */
  constructor(
    private readonly variables: readonly tf.Variable[],
    readonly decay: number,
    restored?: ReadonlyMap<string, Float32Array>,
  ) {
    assertNumber("ema", decay, { least: 0, below: 1 });
    this.averages = tf.tidy(() =>
      variables.map((variable) => {
        const values = restored?.get(variable.name);
        if (!values) return tf.keep(tf.add(variable, 0));
        // A tensor may be its array, which is not ours to change.
        const average = tf.keep(tf.tensor(values.slice(), variable.shape));
        // tfjs uploads at first use, which may be in a capture.
        if (tf.getBackend() === "webgpu") webgpuBackend().uploadToGPU(average.dataId);
        return average;
      })
    );
  }

  /**
   * [share of the average, share of the weights] in an update.
   * @param step updates made before it
   */
  shares(step: number): Float32Array {
    const decay = Math.min(this.decay, (1 + step) / (10 + step));
    return Float32Array.of(decay, 1 - decay);
  }

  /**
   * Takes the weights of now into the average. Uploads nothing, so that it can be captured.
   * @param shares float32 `[2]`: what {@linkcode shares} gave
   */
  update(shares: tf.Tensor1D): void {
    blend(this.pairs(), shares);
  }

  /** Calls `use` while the variables hold the average, and puts their own values back to the bit. */
  async during<T>(use: () => Promise<T>): Promise<T> {
    exchange(this.pairs());
    try {
      return await use();
    } finally {
      exchange(this.pairs());
    }
  }

  /** Reads the averages, flat, by the variables' names. Not to be written to. */
  async read(): Promise<Map<string, Float32Array>> {
    // At once, because on webgpu each read alone waits for some 11 ms.
    const read = await Promise.all(this.averages.map((average) => average.data<"float32">()));
    return new Map(this.variables.map(({ name }, index) => [name, read[index]!]));
  }

  /** Each average and its variable. */
  private pairs(): Pair[] {
    return this.variables.map((variable, index) => ({
      into: this.averages[index]!,
      from: variable as tf.Tensor,
    }));
  }

  /** Frees the averages; the variables stay. */
  dispose(): void {
    tf.dispose(this.averages);
  }
}
