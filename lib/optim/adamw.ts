import { type TensorInfo, tf } from "../tfjs.ts";
import { isShared } from "../backend/tfjs_internals.ts";
import { assertNumber } from "../checks.ts";
import { type AdamWGroup, adamwUpdate } from "../kernels/optimizer/adamw.ts";
import { countNonFinite } from "../kernels/optimizer/count_non_finite.ts";
import { squaredNorm } from "../kernels/optimizer/squared_norm.ts";
import { type Moments, MomentStores, type Slot, type Store } from "./moments.ts";

/** Options of {@linkcode AdamW}; the defaults are those of the `keras-cifar100` preset. */
export interface AdamWConfig {
  /** Step size; may be changed between steps through `optimizer.learningRate`. */
  learningRate?: number;
  /** Share by which a variable shrinks; of what depends on the convention. */
  weightDecay?: number;
  /**
   * `tfa` (TensorFlow Addons): `var -= weightDecay * var` each step, whatever the learning rate.
   * `keras` (Keras 3, PyTorch): `var -= learningRate * weightDecay * var`.
   */
  decayConvention?: "tfa" | "keras";
  /** Variables whose name contains one of these are not decayed, `["bias", "norm"]` for example. */
  decayExclude?: readonly string[];
  /** Decay rate of the first moment, from 0 to below 1. */
  beta1?: number;
  /** Decay rate of the second moment, from 0 to below 1. */
  beta2?: number;
  /** Added to the root of the second moment, above 0. */
  epsilon?: number;
  /**
   * The largest global norm of the gradients; larger ones are scaled down to it. 0: no clipping.
   */
  clipNorm?: number;
  /**
   * Leaves out every update whose gradients' global norm is NaN or infinite: variables and moments
   * stay as they are. The device decides, so no gradient is read; the update still counts in
   * `step`.
   */
  skipNonFinite?: boolean;
}

/** Tensor with a name; tfjs's own type of this shape is not exported. */
export interface NamedTensor {
  /** For a gradient, the name of its variable. */
  name: string;
  /** The tensor itself. */
  tensor: tf.Tensor;
}

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter, 2017), as a tfjs optimizer.
 *
 * First the decay, then Adam as TensorFlow computes it:
 * `var -= learningRate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon)`.
 * Variables and moments are updated in place, so memory does not grow from step to step.
 *
 * @example
 * ```ts
 * import { AdamW, selectBackend, tf } from "../../mod.ts";
 *
 * await selectBackend("cpu");
 * const w = tf.variable(tf.ones([2]));
 * const optimizer = new AdamW({ learningRate: 0.1, weightDecay: 0 });
 * optimizer.minimize(() => w.square().sum());
 * console.log(await w.data()); // 0.9, 0.9
 * ```
 */
export class AdamW extends tf.Optimizer {
  /** Name of the class in a stored optimizer. */
  static readonly className = "VitAdamW";
  /** Step size of the next update. */
  learningRate: number;
  /** As in {@linkcode AdamWConfig}, as are the others. */
  readonly weightDecay: number;
  /** Convention of the weight decay. */
  readonly decayConvention: "tfa" | "keras";
  /** Parts of the names of variables that are not decayed. */
  readonly decayExclude: readonly string[];
  /** Decay rate of the first moment. */
  readonly beta1: number;
  /** Decay rate of the second moment. */
  readonly beta2: number;
  /** Added to the root of the second moment. */
  readonly epsilon: number;
  /** Largest global norm of the gradients; 0 for none. */
  readonly clipNorm: number;
  /** Whether updates of NaN or infinite gradients are left out. */
  readonly skipNonFinite: boolean;
  /** Number of updates left out; made at the first update. */
  private skipped?: tf.Tensor1D;
  private readonly stores = new MomentStores();
  /** Restored moments, by the variable's name, of variables without an update since. */
  private restored = new Map<string, Moments>();
  /** Loaded moments whose variables have not been seen yet; their order decides whose they are. */
  private waiting: { name: string; shape: number[]; moments: Moments }[] = [];
  /** Tensors that {@linkcode getWeights} gave last. */
  private exported: tf.Tensor[] = [];
  /** Factors of the learning rate by the variables' names; 1 where there is none. */
  private rates: ReadonlyMap<string, number> = new Map();
  private step_ = 0;

  /**
   * Makes an optimizer without moments yet.
   * @throws {UserError} when a number is out of its range
   */
  constructor(config: AdamWConfig = {}) {
    super();
    this.learningRate = config.learningRate ?? 1e-3;
    this.weightDecay = config.weightDecay ?? 1e-4;
    this.decayConvention = config.decayConvention ?? "tfa";
    this.decayExclude = config.decayExclude ?? [];
    this.beta1 = config.beta1 ?? 0.9;
    this.beta2 = config.beta2 ?? 0.999;
    this.epsilon = config.epsilon ?? 1e-7;
    this.clipNorm = config.clipNorm ?? 0;
    this.skipNonFinite = config.skipNonFinite ?? false;
    for (const name of ["learningRate", "weightDecay", "clipNorm"] as const) {
      assertNumber(name, this[name], { least: 0 });
    }
    for (const name of ["beta1", "beta2"] as const) {
      assertNumber(name, this[name], { least: 0, below: 1 });
    }
    assertNumber("epsilon", this.epsilon, { least: Number.MIN_VALUE });
  }

  /** Number of updates applied. */
  get step(): number {
    return this.step_;
  }

  /**
   * Sets factors of the learning rate by the variables' names, as a layer-wise decay has them; 1 for all
   * others. With the convention `keras` the weight decay has them too.
   */
  scaleRates(rates: ReadonlyMap<string, number>): void {
    this.rates = rates;
  }

  /** Updates the variables by their gradients, by name, and counts the update. */
  override applyGradients(gradients: tf.NamedTensorMap | NamedTensor[]): void {
    tf.tidy(() => this.update(gradients, tf.tensor1d(this.scalars())));
    this.advance();
  }

  /**
   * Updates the variables with scalars that lie on the device. Counts nothing and uploads nothing,
   * so that it can be captured; {@linkcode advance} counts.
   *
   * @param scalars float32 `[2]`: what {@linkcode scalars} gave
   */
  update(gradients: tf.NamedTensorMap | NamedTensor[], scalars: tf.Tensor1D): void {
    const named = Array.isArray(gradients)
      ? gradients
      : Object.entries(gradients).map(([name, tensor]) => ({ name, tensor }));
    const present = named.filter(({ tensor }) => tensor !== null && tensor !== undefined);
    const variables = present.map(({ name }) => registeredVariable(name));
    this.prepare(variables);
    const groups = this.groupsOf(variables, present.map(({ tensor }) => tensor as TensorInfo));
    tf.tidy(() => {
      const { beta1, beta2, epsilon, clipNorm, skipNonFinite } = this;
      const clipping = (clipNorm > 0 || skipNonFinite) && present.length > 0
        ? { clipNorm, squaredNorm: squaredNorm(present.map(({ tensor }) => tensor)), skipNonFinite }
        : undefined;
      if (clipping && this.skipped) countNonFinite(this.skipped, clipping.squaredNorm);
      adamwUpdate(groups, scalars, { beta1, beta2, epsilon }, clipping);
    });
  }

  /** The members of each store, with their gradients. */
  private groupsOf(variables: tf.Variable[], gradients: TensorInfo[]): AdamWGroup[] {
    const groups = new Map<Store, AdamWGroup>();
    variables.forEach((variable, index) => {
      const slot = this.stores.slots.get(variable.name);
      if (!slot) return; // It has no elements.
      const { m, v } = slot.store;
      if (!groups.has(slot.store)) groups.set(slot.store, { m, v, members: [] });
      const rate = this.rates.get(variable.name) ?? 1;
      groups.get(slot.store)!.members.push({
        value: variable as TensorInfo,
        grad: gradients[index]!,
        offset: slot.offset,
        decay: !this.decayExclude.some((part) => variable.name.includes(part)),
        rate,
        decayRate: this.decayConvention === "keras" ? rate : 1,
      });
    });
    return [...groups.values()];
  }

  /** Number of updates left out since the optimizer was made; reads one number from the device. */
  async readSkipped(): Promise<number> {
    return this.skipped ? (await this.skipped.data<"float32">())[0]! : 0;
  }

  /** Makes what the first update of variables needs: their moments, and values of their own. */
  prepare(variables: tf.Variable[]): void {
    const fresh = variables.filter(({ name, size }) => size > 0 && !this.stores.slots.has(name));
    this.stores.add(fresh, fresh.map((variable) => this.givenMoments(variable)));
    this.disposeExported();
    if (this.skipNonFinite) this.skipped ??= tf.keep(tf.zeros([1]));
    for (const variable of variables) {
      const slot = this.stores.slots.get(variable.name);
      if (slot) ownValue(variable, slot);
    }
  }

  /**
   * [step size with Adam's bias correction, factor of the decay] of the next update.
   * @param factor of the learning rate, as a schedule has it
   */
  scalars(factor = 1): Float32Array {
    const { beta1, beta2, weightDecay } = this;
    const learningRate = this.learningRate * factor;
    const count = this.step_ + 1;
    const correction = Math.sqrt(1 - beta2 ** count) / (1 - beta1 ** count);
    const decay = this.decayConvention === "tfa" ? weightDecay : learningRate * weightDecay;
    return Float32Array.of(learningRate * correction, 1 - decay);
  }

  /** Counts an update that {@linkcode update} has made. */
  advance(): void {
    this.step_++;
    this.incrementIterations();
  }

  /** The moments that a variable starts from, if a state was loaded that has some. */
  private givenMoments({ name, shape, size }: tf.Variable): Moments | undefined {
    const restored = this.restored.get(name);
    this.restored.delete(name);
    if (restored) {
      if (restored.m.length === size && restored.v.length === size) return restored;
      throw ofAnotherModel(`${restored.m.length} numbers`, name, shape);
    }
    const loaded = this.waiting.shift();
    if (loaded && `${loaded.shape}` !== `${shape}`) {
      throw ofAnotherModel(`[${loaded.shape}]`, name, shape);
    }
    return loaded?.moments;
  }

  /**
   * Reads the moments of variables from the device, by the variables' names; zeros for one that has
   * had no update.
   */
  async readMoments(variables: Iterable<tf.Variable>): Promise<Map<string, Moments>> {
    const read = await this.stores.read();
    const zeros = ({ size }: tf.Variable) => ({
      m: new Float32Array(size),
      v: new Float32Array(size),
    });
    return new Map([...variables].map((variable) => {
      const { name } = variable;
      return [name, read.get(name) ?? this.restored.get(name) ?? zeros(variable)];
    }));
  }

  /**
   * Replaces the state, as a resumed run does.
   * @param step how many updates had been applied
   * @param values the moments by the variable's name; a variable without starts from zeros
   */
  restore(step: number, values: Map<string, Moments>): void {
    this.disposeMoments();
    this.restored = new Map(values);
    this.step_ = step;
    this.iterations_ = step;
  }

  /**
   * tfjs's form of the state: the number of updates, then all m, then all v. The moments are copies
   * that the optimizer owns, valid until its next call.
   */
  override async getWeights(): Promise<NamedTensor[]> {
    const read = await this.stores.read();
    const entries = [
      ...[...this.stores.slots].map(([name, { shape }]) => ({
        name,
        shape,
        moments: read.get(name)!,
      })),
      ...[...this.restored].map(([name, moments]) => {
        return { name, shape: registeredVariable(name).shape, moments };
      }),
      ...this.waiting,
    ];
    const named = (["m", "v"] as const).flatMap((part) =>
      entries.map(({ name, shape, moments }) => ({
        name: `${name}/${part}`,
        // A tensor may be its array, and on the cpu backend that is the one of the moments.
        tensor: tf.tensor(moments[part].slice(), shape),
      }))
    );
    this.disposeExported();
    this.exported = named.map(({ tensor }) => tensor);
    return [await this.saveIterations(), ...named];
  }

  /**
   * Takes the state that {@linkcode getWeights} gave. As in tfjs's own optimizers the order decides
   * which variable gets what, since a loaded model's variables may have other names.
   */
  override async setWeights(weights: NamedTensor[]): Promise<void> {
    const rest = await this.extractIterations(weights);
    const half = rest.length / 2;
    const arrays = await Promise.all(rest.map(async ({ tensor }) => {
      return (await tensor.data<"float32">()).slice();
    }));
    this.disposeMoments();
    for (let i = 0; i < half; i++) {
      const { name, tensor } = rest[i]!;
      const moments = { m: arrays[i]!, v: arrays[half + i]! };
      this.waiting.push({ name: name.replace(/\/m$/, ""), shape: tensor.shape, moments });
    }
    this.step_ = this.iterations_;
  }

  /** Frees the moments, restored ones too. */
  private disposeMoments(): void {
    this.stores.dispose();
    this.restored.clear();
    this.waiting = [];
  }

  /** Frees what {@linkcode getWeights} gave last. */
  private disposeExported(): void {
    tf.dispose(this.exported);
    this.exported = [];
  }

  /** Frees moments and counters. */
  override dispose(): void {
    this.disposeMoments();
    this.disposeExported();
    this.skipped?.dispose();
    super.dispose();
  }

  /** Settings as a stored optimizer has them. */
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
      clipNorm: this.clipNorm,
      ...(this.skipNonFinite && { skipNonFinite: true }),
    };
  }

  /** Makes the optimizer of stored settings. */
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

function ofAnotherModel(given: string, name: string, shape: number[]): Error {
  return new Error(
    `The optimizer's weights are of another model: ${given} came where ` +
      `${name} needs [${shape}].`,
  );
}

function registeredVariable(name: string): tf.Variable {
  const variable = tf.engine().registeredVariables[name];
  if (!variable) throw new Error(`No variable is registered under the name "${name}".`);
  return variable;
}

/**
 * Gives a variable data of its own. An update in place would otherwise change whatever shares the
 * data: a clone taken before training or, on the cpu backend, the array that a tensor was made of.
 */
function ownValue(variable: tf.Variable, slot: Slot): void {
  if (slot.owned === variable.dataId && !isShared(variable)) return;
  tf.tidy(() => variable.assign(tf.add(variable, 0)));
  slot.owned = variable.dataId;
}
