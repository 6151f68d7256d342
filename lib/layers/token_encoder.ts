import { tf } from "../tfjs.ts";
import { addRepeated } from "../kernels/add_repeated.ts";
import {
  firstShape,
  inputAndResidual,
  type InputShape,
  VitLayer,
  type VitLayerConfig,
} from "./layer.ts";
import { type PositionEmbeddingName, positionEmbeddings } from "./position_embeddings.ts";

/** Keras's `uniform` initializer, which the example's position embedding uses. */
const EMBEDDING_LIMIT = 0.05;

/** Options of {@linkcode TokenEncoder}. */
export interface TokenEncoderConfig extends VitLayerConfig {
  /** Whether a learned token is put before the others. */
  classToken?: boolean;
  /** Kind of the positions; learned by default. */
  positionEmbedding?: PositionEmbeddingName;
}

/**
 * Adds positions to the tokens of a square image.
 *
 * `[batch, side * side, dim]` becomes `[batch, tokens, dim]`; with `classToken` a learned token is put
 * before them, so that tokens = side * side + 1. A fixed embedding is 0 there.
 */
export class TokenEncoder extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className: string = "VitTokenEncoder";
  /** Whether a learned token stands before the others. */
  readonly classToken: boolean;
  /** Kind of the positions. */
  readonly positionEmbedding: PositionEmbeddingName;
  private learned?: tf.LayerVariable;
  private fixed?: tf.Tensor;
  private token?: tf.LayerVariable;

  /** Makes a layer from class token, positions, name, and seed of the initial weights. */
  constructor(config: TokenEncoderConfig) {
    super(config);
    this.classToken = config.classToken ?? false;
    this.positionEmbedding = config.positionEmbedding ?? "learned";
  }

  /** Makes the weights for a shape of inputs. */
  override build(inputShape: InputShape): void {
    const [, count, dim] = firstShape(inputShape) as [unknown, number, number];
    const first = this.classToken ? 1 : 0;
    const { learned, fixed } = positionEmbeddings[this.positionEmbedding];
    const shape: [number, number] = [count + first, dim];
    if (learned) this.learned = this.randomWeight("position_embedding", shape, EMBEDDING_LIMIT);
    if (fixed) {
      const values = new Float32Array((count + first) * dim);
      values.set(fixed(Math.sqrt(count), dim), first * dim);
      this.fixed = tf.keep(tf.tensor(values, shape));
    }
    if (this.classToken) {
      this.token = this.randomWeight("class_token", [1, 1, dim], EMBEDDING_LIMIT);
    }
    super.build(inputShape);
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, count, dim] = firstShape(inputShape) as [number, number, number];
    return [batch, count + (this.classToken ? 1 : 0), dim];
  }

  /** Output for an input. */
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => this.encode(inputAndResidual(inputs)[0]));
  }

  /** The positions to add `[tokens, dim]`, or none. */
  protected get positions(): tf.Tensor | undefined {
    return this.learned?.read() ?? this.fixed;
  }

  /** Tokens of an image `[batch, side * side, dim]` with the class token and the positions. */
  protected encode(tokens: tf.Tensor): tf.Tensor {
    if (this.token) {
      // Not tile, whose gradient takes one kernel a repetition.
      const token = tf.zeros([tokens.shape[0]!, 1, 1]).add(this.token.read());
      tokens = tf.concat([token, tokens], 1);
    }
    return this.positions ? this.placed(tokens, this.positions) : tokens.clone();
  }

  /** Tokens with positions. */
  protected placed(tokens: tf.Tensor, positions: tf.Tensor): tf.Tensor {
    return addRepeated(tokens, positions);
  }

  /** Frees what the layer owns; tells how many tensors that were. */
  protected override disposeWeights(): number {
    this.fixed?.dispose();
    return super.disposeWeights();
  }

  /** Settings as a stored model has them. */
  override getConfig(): tf.serialization.ConfigDict {
    const { classToken, positionEmbedding } = this;
    // Younger than 0.1.0, whose models keep their bytes.
    const younger: tf.serialization.ConfigDict = positionEmbedding === "learned"
      ? {}
      : { positionEmbedding };
    return { ...super.getConfig(), classToken, ...younger };
  }
}
tf.serialization.registerClass(TokenEncoder);
