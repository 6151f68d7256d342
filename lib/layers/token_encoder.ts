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
  /** Whether a second learned token follows that one (Touvron et al., 2020, "DeiT"). */
  distillationToken?: boolean;
  /** Kind of the positions; learned by default. */
  positionEmbedding?: PositionEmbeddingName;
}

/**
 * Adds positions to the tokens of a square image.
 *
 * `[batch, side * side, dim]` becomes `[batch, tokens, dim]`; with `classToken` a learned token is put
 * before them, and with `distillationToken` another one after that, so that tokens = side * side + 1
 * or 2. A fixed embedding is 0 there.
 */
export class TokenEncoder extends VitLayer {
  /** Name of the class in stored models. */
  static readonly className: string = "VitTokenEncoder";
  /** Whether a learned token stands before the others. */
  readonly classToken: boolean;
  /** Whether a second learned token follows it. */
  readonly distillationToken: boolean;
  /** Kind of the positions. */
  readonly positionEmbedding: PositionEmbeddingName;
  private learned?: tf.LayerVariable;
  private fixed?: tf.Tensor;
  private tokens: tf.LayerVariable[] = [];

  /** Makes a layer from class token, positions, name, and seed of the initial weights. */
  constructor(config: TokenEncoderConfig) {
    super(config);
    this.classToken = config.classToken ?? false;
    this.distillationToken = config.distillationToken ?? false;
    this.positionEmbedding = config.positionEmbedding ?? "learned";
  }

  /** Makes the weights for a shape of inputs. */
  override build(inputShape: InputShape): void {
    const [, count, dim] = firstShape(inputShape) as [unknown, number, number];
    const first = this.learnedTokens.length;
    const { learned, fixed } = positionEmbeddings[this.positionEmbedding];
    const shape: [number, number] = [count + first, dim];
    if (learned) this.learned = this.randomWeight("position_embedding", shape, EMBEDDING_LIMIT);
    if (fixed) {
      const values = new Float32Array((count + first) * dim);
      values.set(fixed(Math.sqrt(count), dim), first * dim);
      this.fixed = tf.keep(tf.tensor(values, shape));
    }
    this.tokens = this.learnedTokens.map((name) =>
      this.randomWeight(name, [1, 1, dim], EMBEDDING_LIMIT)
    );
    super.build(inputShape);
  }

  /** Names of the learned tokens in their order. */
  private get learnedTokens(): string[] {
    return [
      ...(this.classToken ? ["class_token"] : []),
      ...(this.distillationToken ? ["distillation_token"] : []),
    ];
  }

  /** Shape of the output for a shape of inputs. */
  override computeOutputShape(inputShape: InputShape): tf.Shape {
    const [batch, count, dim] = firstShape(inputShape) as [number, number, number];
    return [batch, count + this.learnedTokens.length, dim];
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
    if (this.tokens.length > 0) {
      // Not tile, whose gradient takes one kernel a repetition.
      const repeated = this.tokens.map((token) =>
        tf.zeros([tokens.shape[0]!, 1, 1]).add(token.read())
      );
      tokens = tf.concat([...repeated, tokens], 1);
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
    const { classToken, distillationToken, positionEmbedding } = this;
    // Younger than 0.1.0, whose models keep their bytes.
    const younger: tf.serialization.ConfigDict = {
      ...(positionEmbedding === "learned" ? {} : { positionEmbedding }),
      ...(distillationToken && { distillationToken }),
    };
    return { ...super.getConfig(), classToken, ...younger };
  }
}
tf.serialization.registerClass(TokenEncoder);
