import { type TensorInfo, tf } from "../tfjs.ts";
import { adamwUpdate, isShared } from "../kernels/adamw.ts";

/** What the optimizer can be told; the defaults are those of the `keras-cifar100` preset. */
export interface AdamWConfig {
  /** Step size; may be changed between steps through `optimizer.learningRate`. */
  learningRate?: number;
  /** How much a variable shrinks; what that means depends on the convention. */
  weightDecay?: number;
  /**
   * `tfa` (TensorFlow Addons): `var -= weightDecay * var` each step, whatever the learning rate.
   * `keras` (Keras 3, PyTorch): `var -= learningRate * weightDecay * var`.
   */
  decayConvention?: "tfa" | "keras";
  /** Variables whose name contains one of these are not decayed, `["bias", "norm"]` for example. */
  decayExclude?: readonly string[];
  beta1?: number;
  beta2?: number;
  epsilon?: number;
}

/** tfjs's own type of this shape is not exported. */
interface NamedTensor {
  name: string;
  tensor: tf.Tensor;
}

/** One variable's running averages of the gradient and of its square. */
interface Moments {
  m: tf.Tensor;
  v: tf.Tensor;
  /** The variable's data after our last update: what we may write in place. */
  owned?: object;
}

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter, 2017), as a tfjs optimizer.
 *
 * First the decay, then Adam as TensorFlow computes it:
 * `var -= learningRate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon)`.
 * Variables and moments are updated in place, so memory does not grow from step to step.
 */
export class AdamW extends tf.Optimizer {
  static readonly className = "VitAdamW";
  learningRate: number;
  readonly weightDecay: number;
  readonly decayConvention: "tfa" | "keras";
  readonly decayExclude: readonly string[];
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  private readonly moments = new Map<string, Moments>();
  /** Loaded moments whose variables have not been seen yet. */
  private waiting: { name: string; moments: Moments }[] = [];
  private step_ = 0;

  constructor(config: AdamWConfig = {}) {
    super();
    this.learningRate = config.learningRate ?? 1e-3;
    this.weightDecay = config.weightDecay ?? 1e-4;
    this.decayConvention = config.decayConvention ?? "tfa";
    this.decayExclude = config.decayExclude ?? [];
    this.beta1 = config.beta1 ?? 0.9;
    this.beta2 = config.beta2 ?? 0.999;
    this.epsilon = config.epsilon ?? 1e-7;
  }

  /** How many updates have been applied. */
  get step(): number {
    return this.step_;
  }

  override applyGradients(gradients: tf.NamedTensorMap | NamedTensor[]): void {
    const named = Array.isArray(gradients)
      ? gradients
      : Object.entries(gradients).map(([name, tensor]) => ({ name, tensor }));
    const present = named.filter(({ tensor }) => tensor !== null && tensor !== undefined);
    const variables = present.map(({ name }) => {
      const variable = registeredVariable(name);
      const moments = this.momentsOf(variable);
      ownValue(variable, moments);
      const { m, v } = moments;
      const decay = !this.decayExclude.some((part) => name.includes(part));
      return { value: variable as TensorInfo, m: m as TensorInfo, v: v as TensorInfo, decay };
    });
    const grads = present.map(({ tensor }) => tensor as TensorInfo);
    tf.tidy(() => {
      const { beta1, beta2, epsilon } = this;
      adamwUpdate(variables, grads, tf.tensor1d(this.nextScalars()), { beta1, beta2, epsilon });
    });
    this.incrementIterations();
  }

  /** [step size with Adam's bias correction, factor of the decay, 0, 0] of the next update. */
  private nextScalars(): Float32Array {
    this.step_++;
    const { learningRate, beta1, beta2, weightDecay } = this;
    const correction = Math.sqrt(1 - beta2 ** this.step_) / (1 - beta1 ** this.step_);
    const decay = this.decayConvention === "tfa" ? weightDecay : learningRate * weightDecay;
    return Float32Array.of(learningRate * correction, 1 - decay, 0, 0);
  }

  private momentsOf(variable: tf.Variable): Moments {
    let moments = this.moments.get(variable.name);
    if (!moments) {
      moments = this.waiting.shift()?.moments ?? tf.tidy(() => ({
        m: tf.keep(tf.zerosLike(variable)),
        v: tf.keep(tf.zerosLike(variable)),
      }));
      if (`${moments.m.shape}` !== `${variable.shape}`) {
        throw new Error(
          `The optimizer's weights are of another model: [${moments.m.shape}] came where ` +
            `${variable.name} needs [${variable.shape}].`,
        );
      }
      this.moments.set(variable.name, moments);
    }
    return moments;
  }

  /** The moments of a variable, as tensors that the optimizer owns; zeros before its first update. */
  momentsFor(variable: tf.Variable): { m: tf.Tensor; v: tf.Tensor } {
    return this.momentsOf(variable);
  }

  /**
   * Replaces the state, as a resumed run does.
   * @param step how many updates had been applied
   * @param values the moments by the variable's name; a variable without starts from zeros
   */
  restore(step: number, values: Map<string, { m: Float32Array; v: Float32Array }>): void {
    this.disposeMoments();
    for (const [name, { m, v }] of values) {
      const { shape } = registeredVariable(name);
      // A tensor may be its array, and ours is updated in place.
      this.moments.set(name, {
        m: tf.keep(tf.tensor(m.slice(), shape)),
        v: tf.keep(tf.tensor(v.slice(), shape)),
      });
    }
    this.step_ = step;
    this.iterations_ = step;
  }

  /** tfjs's form of the state: the number of updates, then all m, then all v. */
  override async getWeights(): Promise<NamedTensor[]> {
    const entries = [
      ...[...this.moments].map(([name, moments]) => ({ name, moments })),
      ...this.waiting,
    ];
    return [
      await this.saveIterations(),
      ...entries.map(({ name, moments }) => ({ name: `${name}/m`, tensor: moments.m })),
      ...entries.map(({ name, moments }) => ({ name: `${name}/v`, tensor: moments.v })),
    ];
  }

  /**
   * Takes the state that {@linkcode getWeights} gave. As in tfjs's own optimizers the order decides
   * which variable gets what, since a loaded model's variables may have other names.
   */
  override async setWeights(weights: NamedTensor[]): Promise<void> {
    const rest = await this.extractIterations(weights);
    const half = rest.length / 2;
    this.disposeMoments();
    for (let i = 0; i < half; i++) {
      const [m, v] = [rest[i]!, rest[half + i]!];
      const copy = ({ tensor }: NamedTensor) => tf.keep(tf.tidy(() => tf.add(tensor, 0)));
      const moments = { m: copy(m), v: copy(v) };
      this.waiting.push({ name: m.name.replace(/\/m$/, ""), moments });
    }
    this.step_ = this.iterations_;
  }

  private disposeMoments(): void {
    const all = [...this.moments.values(), ...this.waiting.map(({ moments }) => moments)];
    for (const { m, v } of all) tf.dispose([m, v]);
    this.moments.clear();
    this.waiting = [];
  }

  override dispose(): void {
    this.disposeMoments();
    super.dispose();
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {
      learningRate: this.learningRate,
      weightDecay: this.weightDecay,
      decayConvention: this.decayConvention,
      // tfjs turns snake_case into camelCase in every string of a stored configuration.
      decayExclude: this.decayExclude.map((part) =>
        encodeURIComponent(part).replaceAll("_", "%5F")
      ),
      beta1: this.beta1,
      beta2: this.beta2,
      epsilon: this.epsilon,
    };
  }

  static override fromConfig<T extends tf.serialization.Serializable>(
    cls: tf.serialization.SerializableConstructor<T>,
    config: tf.serialization.ConfigDict,
  ): T {
    // tfjs types the constructor for positional scalars; ours takes the configuration.
    const { decayExclude, ...rest } = config as AdamWConfig;
    return new (cls as unknown as new (config: AdamWConfig) => T)({
      ...rest,
      decayExclude: decayExclude?.map(decodeURIComponent),
    });
  }
}
tf.serialization.registerClass(AdamW);

function registeredVariable(name: string): tf.Variable {
  const variable = tf.engine().registeredVariables[name];
  if (!variable) throw new Error(`No variable is registered under the name "${name}".`);
  return variable;
}

/**
 * Gives a variable data of its own. An update in place would otherwise change whatever shares the
 * data: a clone taken before training or, on the cpu backend, the array that a tensor was made of.
 */
function ownValue(variable: tf.Variable, moments: Moments): void {
  if (moments.owned === variable.dataId && !isShared(variable)) return;
  tf.tidy(() => variable.assign(tf.add(variable, 0)));
  moments.owned = variable.dataId;
}
