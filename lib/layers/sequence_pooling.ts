import { tf } from "../tfjs.ts";
import { sequencePooling } from "../kernels/sequence_pooling/sequence_pooling.ts";
import { firstShape, glorotLimit, inputAndResidual, type InputShape, VitLayer } from "./layer.ts";

/**
 * Sequence pooling (Hassani et al., 2021): `[batch, tokens, dim]` becomes `[batch, dim]`, the sum of
 * the tokens by the softmax over them of a dense layer of width 1.
 */
export class SequencePooling extends VitLayer {
  static readonly className = "VitSequencePooling";
  private kernel!: tf.LayerVariable;
  private bias!: tf.LayerVariable;

  override build(inputShape: InputShape): void {
    const dim = firstShape(inputShape).at(-1)!;
    this.kernel = this.randomWeight("attention.kernel", [dim, 1], glorotLimit(dim, 1));
    this.bias = this.constantWeight("attention.bias", [1], 0);
    super.build(inputShape);
  }

  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, , dim] = firstShape(inputShape) as [number, number, number];
    return [batch, dim];
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const [tokens] = inputAndResidual(inputs);
      const kernel = this.kernel.read() as tf.Tensor2D;
      return sequencePooling(tokens as tf.Tensor3D, kernel, this.bias.read() as tf.Tensor1D);
    });
  }
}
tf.serialization.registerClass(SequencePooling);
