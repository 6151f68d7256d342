/**
 * Tensors that a training step keeps on the device, as far as one buffer might be too large for it.
 */
import { assertFits, bufferLimit } from "../backend/device.ts";
import type { RunConfig } from "../config/run.ts";
import { UserError } from "../errors.ts";
import { architectureOf } from "../models/architecture.ts";

/** One tensor of a training step. */
export interface StepTensor {
  name: string;
  /** Without the batch axis where it has one. */
  shape: number[];
  /** Whether there is one for each image of the batch. */
  perImage: boolean;
}

/** The tensors of a training step that grow with the configuration. */
export function stepTensors(config: RunConfig): StepTensor[] {
  const { imageSize, channels } = config;
  const { tokenizer, tokens, features, block, head } = architectureOf(config);
  const [projections, , ...mlp] = block;
  const widest = Math.max(...mlp.map(({ columns }) => columns));
  const perImage = (name: string, shape: number[]) => ({ name, shape, perImage: true });
  return [
    perImage("the images [batch, size, size, channels]", [imageSize, imageSize, channels]),
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

/** All the memory that wasm can address; a tensor of the cpu backend is no larger either. */
const hostLimit = 2 ** 32;

/**
 * Asserts before training that no tensor of a step is above the device's limit on one buffer; where
 * there is no device, above 4 GiB.
 *
 * @param batch images of the largest batch
 * @throws {UserError} naming the largest tensor, its size, the limit and the batch that would fit
 */
export function assertStepFits(config: RunConfig, batch: number, limit = bufferLimit()): void {
  const bytesOf = ({ shape, perImage }: StepTensor) =>
    4 * shape.reduce((product, extent) => product * extent, perImage ? batch : 1);
  const tensors = stepTensors(config);
  // No batch mends a kernel that is too large, so those come first.
  const ordered = tensors.sort((a, b) =>
    Number(a.perImage) - Number(b.perImage) || bytesOf(b) - bytesOf(a)
  );
  for (const tensor of ordered) {
    const { name, shape, perImage } = tensor;
    const shown = perImage ? [batch, ...shape] : shape;
    const subject = `A tensor of a step, ${name} = [${shown.join(", ")}],`;
    const bytes = bytesOf(tensor);
    if (limit !== Infinity) {
      assertFits({ name: subject, bytes, batchSize: perImage ? batch : 0 }, limit);
    } else if (bytes > hostLimit) {
      const most = perImage ? Math.floor(hostLimit / (bytes / batch)) : 0;
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
