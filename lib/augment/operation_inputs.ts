/** What tells the device of the operations on each image of a training step, and of what is erased. */
import { OPERATION_NUMBERS, operationRow } from "../kernels/image_operations/operations.ts";
import { drawnOf, type DrawOptions } from "./draws.ts";

/** A tensor in the making, with a row for each image. */
export interface ImageRows {
  shape: [batch: number, columns: number];
  values: Float32Array;
}

/** The name of the input that holds a round of operations, from 0. */
export function operationsName(round: number): string {
  return `operations${round}`;
}

/** Whether an input is one of {@linkcode drawOperationInputs}. */
export function isOperationInput(name: string): boolean {
  return name === "erased" || name.startsWith("operations");
}

/** Numbers of a box as the device takes it. */
const BOX_NUMBERS = 4;

/**
 * Inputs of a step by name: `operations0`, `operations1`, …, float32 `[batch, 3]`, for each round of
 * operations, and `erased`, float32 `[batch, 4]`, where something may be; an empty box erases
 * nothing. A list without such augmentations has none.
 */
export function drawOperationInputs(options: DrawOptions): Record<string, ImageRows> {
  const { batch, size } = options;
  const inputs: Record<string, ImageRows> = {};
  let before = 0;
  for (const { augmentation, values, drawOf } of drawnOf("operation", options)) {
    const rounds = Array.from({ length: augmentation.rounds(values) }, () => {
      return new Float32Array(batch * OPERATION_NUMBERS);
    });
    for (let i = 0; i < batch; i++) {
      const operations = augmentation.operations(drawOf(i), values, size);
      rounds.forEach((rows, round) => {
        rows.set(operationRow(operations[round]!), i * OPERATION_NUMBERS);
      });
    }
    rounds.forEach((rows, round) => {
      const shape: ImageRows["shape"] = [batch, OPERATION_NUMBERS];
      inputs[operationsName(before + round)] = { shape, values: rows };
    });
    before += rounds.length;
  }
  for (const { augmentation, values, drawOf } of drawnOf("erase", options)) {
    const boxes = new Float32Array(batch * BOX_NUMBERS);
    for (let i = 0; i < batch; i++) {
      boxes.set(augmentation.box(drawOf(i), values, size) ?? [], i * BOX_NUMBERS);
    }
    inputs.erased = { shape: [batch, BOX_NUMBERS], values: boxes };
  }
  return inputs;
}
