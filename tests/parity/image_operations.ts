/**
 * Reference values of operations on images, made with torchvision. The file's tensors: `input.images`
 * `[images, height, width, channels]`, grey levels 0 to 255, and for each operation `NAME` or
 * `NAME.MAGNITUDE` of all of them; names and magnitudes are those of `ImageOperation`.
 */
import type { TensorData } from "../../lib/checkpoint/safetensors.ts";
import { imageOperations } from "../../lib/kernels/image_operations/image_operations.ts";
import {
  type ImageOperation,
  operationRow,
  operations,
} from "../../lib/kernels/image_operations/operations.ts";
import { shown } from "../../lib/shown.ts";
import { tf } from "../../lib/tfjs.ts";
import { ReferenceFile } from "./reference_file.ts";

/** One reference tensor beside ours. */
export interface ComparedLevels {
  name: string;
  actual: Float32Array;
  expected: Float32Array;
  /** How much of what is allowed the difference takes. */
  share: number;
}

/** Values that may be more than a level off, of all; and how far they may be off on average. */
const allowed = { beyond: 0.01, mean: 0.3 };

const tensorName = /^([a-z_]+)(?:\.(-?\d+(?:\.\d+)?))?$/;
const plain: readonly string[] = ["identity", "autocontrast", "equalize", "invert"];

/** Whether a file holds reference values of operations on images, by its tensors. */
export function isImageOperations(tensors: ReadonlyMap<string, TensorData>): boolean {
  const heads = [...tensors.keys()].map((name) => name.split(".")[0]!);
  return heads.some((head) => (operations as readonly string[]).includes(head));
}

/**
 * Computes what a file has references of, on the current backend.
 * @throws {UserError} if a tensor is missing, unknown, of another shape or type, or has wrong numbers.
 */
export async function compareImageOperations(
  tensors: ReadonlyMap<string, TensorData>,
  path: string,
): Promise<ComparedLevels[]> {
  return await new OperationsFile(tensors, path).compared();
}

class OperationsFile extends ReferenceFile {
  async compared(): Promise<ComparedLevels[]> {
    const shape = (this.tensors.get("input.images")?.shape ?? []) as [
      number,
      number,
      number,
      number,
    ];
    const [count = 0, , , channels = 0] = shape;
    const levels = this.floats("input.images", shape);
    if (shape.length !== 4 || channels < 1 || channels > 4 || levels.length === 0) {
      throw this.unusable(
        `its input.images has the shape [${shape}], not [images, height, width, channels]`,
      );
    }
    const wrong = levels.find((level) => level < 0 || level > 255);
    if (wrong !== undefined) {
      throw this.unusable(`its input.images holds ${wrong}, which is not 0 to 255`);
    }
    const compared: ComparedLevels[] = [];
    for (const name of this.tensors.keys()) {
      const operation = this.operationOf(name);
      if (!operation) continue;
      const expected = this.floats(name, shape);
      const made = tf.tidy(() => {
        const rows = tf.tensor2d(Array<number[]>(count).fill(operationRow(operation)));
        return imageOperations(tf.tensor4d(levels, shape), rows);
      });
      const actual = (await made.data<"float32">()).slice();
      made.dispose();
      compared.push({ name, actual, expected, share: shareOf(actual, expected) });
    }
    this.assertAllUsed();
    return compared;
  }

  /** What the name of a tensor says; null where it is none of an operation. */
  private operationOf(tensor: string): ImageOperation | null {
    const [, name, magnitude] = tensorName.exec(tensor) ?? [];
    const known = operations.find((operation) => operation === name);
    if (!known) return null;
    if (plain.includes(known) === (magnitude === undefined)) {
      return { name: known, magnitude: Number(magnitude ?? 0) };
    }
    throw this.unusable(
      `its ${shown(tensor)} is an operation ${
        magnitude === undefined ? "without" : "with"
      } magnitude`,
    );
  }
}

function shareOf(actual: Float32Array, expected: Float32Array): number {
  const differences = actual.map((level, i) => Math.abs(level - expected[i]!));
  const mean = differences.reduce((a, b) => a + b) / differences.length;
  // A little more than a level, for what is not rounded.
  const beyond = differences.filter((each) => !(each <= 1.001)).length / differences.length;
  return Math.max(beyond / allowed.beyond, mean / allowed.mean);
}
