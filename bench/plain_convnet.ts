/** A training step that is not ours, for captures. */
import { randomUniform, streamKey } from "../lib/random.ts";
import { tf } from "../lib/tfjs.ts";

/** Numbers from a counter, uniform in [-1, 1). */
function numbers(count: number, seed: number): Float32Array {
  const key = streamKey(seed, 99, 0);
  return Float32Array.from({ length: count }, (_, i) => 2 * randomUniform(key, i) - 1);
}

/** A small convolutional net and its optimizer in nothing but tfjs: what a stranger would capture. */
export class PlainConvnet {
  static readonly inputShape = [8, 16, 16, 1] as [number, number, number, number];
  static readonly labelShape = [8, 10] as [number, number];
  readonly variables: tf.Variable[];
  readonly optimizer = tf.train.adam(1e-2);
  private readonly first: tf.Tensor4D;
  private readonly second: tf.Tensor4D;
  private readonly dense: tf.Tensor2D;
  private readonly bias: tf.Tensor1D;

  constructor() {
    const weight = (seed: number, shape: number[], scale: number) =>
      tf.tidy(() => {
        const values = numbers(tf.util.sizeFromShape(shape), seed).map((x) => scale * x);
        return tf.variable(tf.tensor(values, shape));
      });
    this.variables = [
      weight(1, [3, 3, 1, 8], 0.3),
      weight(2, [3, 3, 8, 16], 0.15),
      weight(3, [256, 10], 0.1),
      weight(4, [10], 0),
    ];
    [this.first, this.second, this.dense, this.bias] = this.variables as unknown as [
      tf.Tensor4D,
      tf.Tensor4D,
      tf.Tensor2D,
      tf.Tensor1D,
    ];
  }

  /** One step of training; returns the loss before it. */
  step(images: tf.Tensor, labels: tf.Tensor): tf.Scalar {
    const pooled = (x: tf.Tensor4D, kernel: tf.Tensor4D) =>
      tf.maxPool(tf.relu(tf.conv2d(x, kernel, 1, "same")), 2, 2, "same");
    const loss = () => {
      const features = pooled(pooled(images as tf.Tensor4D, this.first), this.second);
      const logits = tf.add(tf.matMul(tf.reshape(features, [-1, 256]), this.dense), this.bias);
      return tf.losses.softmaxCrossEntropy(labels, logits) as tf.Scalar;
    };
    return tf.tidy(() => this.optimizer.minimize(loss, true, this.variables) as tf.Scalar);
  }

  /** The images of a step. */
  static imagesOf(step: number): Float32Array {
    return numbers(tf.util.sizeFromShape(PlainConvnet.inputShape), 100 + step);
  }

  /** One label a row. */
  static labelsOf(step: number): Float32Array {
    const [rows, classes] = PlainConvnet.labelShape;
    const labels = new Float32Array(rows * classes);
    for (let row = 0; row < rows; row++) labels[row * classes + (row * 3 + step) % classes] = 1;
    return labels;
  }

  dispose(): void {
    tf.dispose(this.variables);
    this.optimizer.dispose();
  }
}
