/**
 * Training steps that several ranks take together.
 *
 * Each computes its share of the batch, with the augmentation and the dropout that one process would
 * give those images. The loss of a share is weighted by its images, so the sum of all ranks'
 * gradients is the gradient of the batch's mean loss, also where shares are uneven; every rank then
 * makes the same update of it, with the same clipping, average and skipped steps. What the batch has
 * brought, and whether anybody wants to stop, is summed along.
 *
 * On a host backend the gradients are summed where they lie. On webgpu they go through the host's
 * memory, since reads are asynchronous there and MPI knows no buffer of Deno's: one captured half of
 * the step ends in one flat tensor, which is summed in the memory that it is read into, and the other
 * half begins with it. Neither half overlaps with the sum; docs/distributed.md says why. Memory for
 * all this is made by the first step.
 */
import { splitModel } from "../models/trained.ts";
import { tf } from "../tfjs.ts";
import { hostFloats } from "../backend/host.ts";
import { Readback } from "../backend/readback.ts";
import { inPrecision } from "../backend/precision.ts";
import { isShared } from "../backend/tfjs_internals.ts";
import { type InputValues, Repeated, tensorsOf } from "../capture/repeated.ts";
import { ArraySums, type Ranks } from "../distributed/ranks.ts";
import { accumulateMetrics, TOTALS_COLUMNS, zeroTotals } from "../kernels/accumulate_metrics.ts";
import { blend } from "../kernels/optimizer/blend.ts";
import type { HostMetrics } from "./metrics.ts";
import { type Share, sharesOf } from "./shares.ts";
import { gradientsOf, seedOfPart, type StepParts, type Training, updateValues } from "./step.ts";

type Inputs = Record<string, tf.Tensor>;

/** Rows of the totals: the share's sums, and whether a rank has been told to stop. */
const ROWS = 2;

/** Place of the second among the totals. */
const STOP = TOTALS_COLUMNS;

/** Training steps of one rank among others. Owns captures on the device. */
export class RankedStep implements Training {
  /** Whether one of the ranks had been told to stop when the last step was summed. */
  isStopped = false;
  /** What is summed beside the gradients. */
  private readonly totals = zeroTotals(ROWS);
  private readonly sums: ArraySums;
  private readonly readback = new Readback();
  /** The share's gradients and totals, one after the other. */
  private readonly first: Repeated<Inputs, tf.Tensor>;
  /** The update by gradients that are its inputs. */
  private readonly second: Repeated<Inputs, void>;
  /** Variables that take part, in the order of their gradients; known after the first pass. */
  private present: tf.Variable[] = [];

  /** @param signal ends the run of all ranks after the step in hand */
  constructor(
    private readonly parts: StepParts,
    private readonly metrics: HostMetrics,
    private readonly ranks: Ranks,
    private readonly signal?: AbortSignal,
  ) {
    const prepare = () => parts.optimizer.prepare(parts.variables);
    this.sums = new ArraySums(ranks);
    this.first = new Repeated((inputs) => this.flat(inputs), { captureAt: 1, prepare });
    this.second = new Repeated((inputs) => this.update(inputs), { captureAt: 1, prepare });
  }

  prefetch(indices: Int32Array): void {
    this.parts.train.prefetch(this.imagesOf(indices));
  }

  async run(indices: Int32Array, step: number): Promise<void> {
    const { parts, ranks, metrics } = this;
    await parts.train.ready(this.imagesOf(indices));
    const values = this.shareValues(indices, step);
    const isEmpty = this.sharesOf(indices).every(({ weight }) => weight === 0);
    const [loss, top1, top5, images, stop] = tf.getBackend() === "webgpu"
      ? await this.runOnDevice(values, step, isEmpty)
      : this.runOnHost(values, step, isEmpty);
    if (images !== indices.length) {
      throw new Error(`${ranks.size} ranks computed ${images} images of ${indices.length}.`);
    }
    metrics.add({ loss: loss!, top1: top1!, top5: top5!, images });
    this.isStopped = stop! > 0;
    parts.optimizer.advance();
  }

  /** Both halves of a step, and the summed totals. */
  private async runOnDevice(
    values: Record<string, InputValues>,
    step: number,
    isEmpty: boolean,
  ): Promise<number[]> {
    const flat = await this.first.read(values, (tensor) => this.readback.read(tensor));
    try {
      const totals = flat.subarray(flat.length - ROWS * TOTALS_COLUMNS);
      this.completeTotals(totals, isEmpty);
      this.ranks.sum(flat);
      const summed = [...totals];
      let from = 0;
      const gradients = this.present.map(({ shape, size }, i): [string, InputValues] => {
        return [`gradient${i}`, { shape, values: flat.subarray(from, from += size) }];
      });
      const update = updateValues(this.parts, step);
      await this.second.run({ ...Object.fromEntries(gradients), ...update });
      return summed;
    } finally {
      this.readback.release();
    }
  }

  private runOnHost(
    values: Record<string, InputValues>,
    step: number,
    isEmpty: boolean,
  ): number[] {
    let summed: number[] = [];
    tf.tidy(() => {
      const gradients = this.gradients(tensorsOf(values));
      const update = tensorsOf(updateValues(this.parts, step));
      // Views, which live until something is allocated.
      const totals = hostFloats(this.totals);
      this.completeTotals(totals, isEmpty);
      this.sums.sum([...gradients.map(hostFloats), totals]);
      summed = [...totals];
      this.update({
        ...Object.fromEntries(gradients.map((gradient, i) => [`gradient${i}`, gradient])),
        ...update,
      });
    });
    return summed;
  }

  /** Writes what the device does not know into the totals. */
  private completeTotals(totals: Float32Array, isEmpty: boolean): void {
    if (isEmpty) totals.fill(0);
    totals[STOP] = this.signal?.aborted ? 1 : 0;
  }

  /** First half of a step, for a device. */
  private flat(inputs: Inputs): tf.Tensor {
    const pieces = [...this.gradients(inputs), this.totals].map((piece) => piece.flatten());
    return tf.concat1d(pieces);
  }

  /** The gradients of the variables that take part, of all parts of the share; and their totals. */
  private gradients(inputs: Inputs): tf.Tensor[] {
    const { config, model, variables, train } = this.parts;
    const stats: tf.Tensor2D[] = [];
    const sums: tf.NamedTensorMap = {};
    for (let part = 0; `${part}.stepKey` in inputs; part++) {
      const own = ofPart(inputs, part);
      const found = inPrecision(config.precision, () =>
        gradientsOf(
          model,
          variables,
          train.batch(own, config.imageSize),
          own.stepKey as tf.Tensor1D,
          {
            smoothing: config.labelSmoothing,
            split: splitModel(model, config),
            weight: (own.weight ?? own.noWeight) as tf.Scalar,
          },
        ));
      // Another rank counts the image that stands in.
      if (own.weight) stats.push(found.stats);
      const present = Object.entries(found.gradients).filter(([, gradient]) => gradient !== null);
      if (part === 0) {
        for (const [name, gradient] of present) {
          sums[name] = isShared(gradient) ? tf.add(gradient, 0) : gradient;
        }
      } else {
        blend(present.map(([name, from]) => ({ into: sums[name]!, from })), [1, 1]);
        tf.dispose(present.map(([, gradient]) => gradient));
      }
    }
    this.present = variables.filter(({ name }) => name in sums);
    if (stats.length > 0) accumulateMetrics(this.totals, 0, tf.concat(stats, 0));
    return this.present.map(({ name }) => sums[name]!);
  }

  /** Second half of a step. */
  private update(inputs: Inputs): void {
    const { optimizer, average } = this.parts;
    const gradients = this.present.map(({ name }, i) => [name, inputs[`gradient${i}`]!]);
    optimizer.update(Object.fromEntries(gradients), inputs.scalars as tf.Tensor1D);
    average?.update(inputs.averageShares as tf.Tensor1D);
  }

  private sharesOf({ length }: Int32Array): Share[] {
    const { batchSize, accumulate } = this.parts.config;
    return sharesOf(length, batchSize / accumulate, this.ranks);
  }

  /** All images that this rank needs of a batch. */
  private imagesOf(indices: Int32Array): Int32Array {
    const { train, config } = this.parts;
    return Int32Array.from(
      this.sharesOf(indices).flatMap((share) => [...train.imagesOf(indices, share, config)]),
    );
  }

  /** The values of this rank's share of a step, of each part under its number. */
  private shareValues(indices: Int32Array, step: number): Record<string, InputValues> {
    const { config, train } = this.parts;
    const entries = this.sharesOf(indices).flatMap((share, part) => {
      const values: Record<string, InputValues> = {
        ...train.shareValues(indices, share, config, step),
        stepKey: { shape: [3], values: Int32Array.of(seedOfPart(config, part), step, share.first) },
        // The name keeps apart the captured steps of one image that counts and of one that does not.
        [share.weight > 0 ? "weight" : "noWeight"]: {
          shape: [],
          values: Float32Array.of(share.weight),
        },
      };
      return Object.entries(values).map(([name, value]) => [`${part}.${name}`, value]);
    });
    return Object.fromEntries(entries);
  }

  dispose(): void {
    this.first.dispose();
    this.second.dispose();
    this.totals.dispose();
    this.readback.dispose();
  }
}

/** The inputs of a part, by their own names. */
function ofPart(inputs: Inputs, part: number): Inputs {
  const prefix = `${part}.`;
  return Object.fromEntries(
    Object.entries(inputs).filter(([name]) => name.startsWith(prefix))
      .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
  );
}
