/**
 * Tensors that a training step keeps on the device, as far as one buffer might be too large for it.
 */
import { assertFits, bufferLimit } from "../backend/device.ts";
import type { RunConfig } from "../config/run.ts";
import { augmentationsOf } from "../augment/list.ts";
import { ofKind } from "../augment/listed.ts";
import { UserError } from "../errors.ts";
import { architectureOf } from "../models/architecture.ts";

/** One tensor of a training step. */
export interface StepTensor {
  name: string;
  /** Without the batch axis where it has one. */
  shape: number[];
  /** Whether there is one for each image of the batch. */
  perImage: boolean;
  /** Images of it beyond the batch: where batches are mixed, the partner of the last. */
  more?: number;
}

/** The tensors of a training step that grow with the configuration. */
export function stepTensors(config: RunConfig): StepTensor[] {
  const { imageSize, channels } = config;
  const { tokenizer, tokens, features, block, head } = architectureOf(config);
  const [projections, , ...mlp] = block;
  const widest = Math.max(...mlp.map(({ columns }) => columns));
  const perImage = (name: string, shape: number[]) => ({ name, shape, perImage: true });
  return [
    {
      ...perImage("the images [batch, size, size, channels]", [imageSize, imageSize, channels]),
      more: ofKind(augmentationsOf(config), "mix").length > 0 ? 1 : 0,
    },
    ...[tokenizer.largest?.(config)].filter((tensor) => tensor !== undefined)
      .map(({ name, shape }) => perImage(name, shape)),
    perImage("the queries of one attention [batch, tokens, heads * keyDim]", [
      tokens,
      projections!.columns,
    ]),
    perImage("the tokens of one MLP layer [batch, tokens, units]", [tokens, widest]),
    perImage("the pooled features [batch, features]", [features]),
    ...head.map(({ columns }) => perImage("the head's layer [batch, units]", [columns])),
    ...head.map(({ inner, columns }) => ({
      name: "a kernel of the head [features, units]",
      shape: [inner, columns],
      perImage: false,
    })),
  ];
}

/** Bytes of a tensor in a step of so many images. */
function bytesOfTensor({ shape, perImage, more = 0 }: StepTensor, batch: number): number {
  return 4 * shape.reduce((product, extent) => product * extent, perImage ? batch + more : 1);
}

/** Bytes of the largest tensor of a step. */
export function largestTensor(config: RunConfig, batch: number): number {
  return Math.max(...stepTensors(config).map((tensor) => bytesOfTensor(tensor, batch)));
}

/** All the memory that wasm can address; a tensor of the cpu backend is no larger either. */
export const hostLimit = 2 ** 32;

/**
 * Asserts before training that no tensor of a step is above the device's limit on one buffer; where
 * there is no device, above 4 GiB.
 *
 * @param batch images of the largest batch
 * @throws {UserError} naming the largest tensor, its size, the limit and the batch that would fit
 */
export function assertStepFits(config: RunConfig, batch: number, limit = bufferLimit()): void {
  const bytesOf = (tensor: StepTensor) => bytesOfTensor(tensor, batch);
  const tensors = stepTensors(config);
  // No batch mends a kernel that is too large, so those come first.
  const ordered = tensors.sort((a, b) =>
    Number(a.perImage) - Number(b.perImage) || bytesOf(b) - bytesOf(a)
  );
  for (const tensor of ordered) {
    const { name, shape, perImage, more = 0 } = tensor;
    const shown = perImage ? [batch + more, ...shape] : shape;
    const subject = `A tensor of a step, ${name} = [${shown.join(", ")}],`;
    const bytes = bytesOf(tensor);
    if (limit !== Infinity) {
      assertFits({ name: subject, bytes, batchSize: perImage ? batch : 0, more }, limit);
    } else if (bytes > hostLimit) {
      const most = perImage ? Math.floor(hostLimit / (bytes / (batch + more))) - more : 0;
      throw new UserError(
        `${subject} would take ${(bytes / 2 ** 30).toFixed(1)} GiB, above the 4.0 GiB that a ` +
          `processor's can have; take ` +
          (most > 0
            ? `a batch of at most ${most} instead of ${batch} (--batch-size ${most}).`
            : "a smaller model."),
      );
    }
  }
}
