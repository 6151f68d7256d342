/** A file of reference values whose tensors are looked up by name, each to be used. */
import type { TensorData } from "../../lib/checkpoint/safetensors.ts";
import { UserError } from "../../lib/errors.ts";
import { shown } from "../../lib/shown.ts";

/** Tensors of a file, checked as they are taken. */
export class ReferenceFile {
  private readonly used = new Set<string>();

  constructor(
    protected readonly tensors: ReadonlyMap<string, TensorData>,
    private readonly path: string,
  ) {}

  /** @throws {UserError} if there is a tensor that nobody has taken */
  assertAllUsed(): void {
    const unknown = [...this.tensors.keys()].find((name) => !this.used.has(name));
    if (unknown !== undefined) throw this.unusable(`it has a tensor ${shown(unknown)}`);
  }

  /** An error that says why the file cannot be used. */
  unusable(fault: string): UserError {
    return new UserError(
      `${this.path} is no file of reference values that can be used: ${fault}.`,
    );
  }

  /** The finite numbers of a float32 tensor. */
  protected floats(name: string, shape: readonly number[]): Float32Array {
    const { dtype, data } = this.tensor(name, shape, "F32");
    const wrong = (data as Float32Array).find((value) => !Number.isFinite(value));
    if (wrong === undefined) return data as Float32Array;
    throw this.unusable(`its ${name} (${dtype}) holds ${wrong}, which is not a finite number`);
  }

  /** The numbers of an int32 vector, each from 0 to below `below`. */
  protected integers(name: string, count: number, below: number): Int32Array {
    const data = this.tensor(name, [count], "I32").data as Int32Array;
    const wrong = data.find((value) => value < 0 || value >= below);
    if (wrong === undefined) return data;
    throw this.unusable(`its ${name} holds ${wrong}, which is not 0 to ${below - 1}`);
  }

  private tensor(name: string, shape: readonly number[], dtype: string): TensorData {
    this.used.add(name);
    const found = this.tensors.get(name);
    if (!found) throw this.unusable(`it has no tensor ${name}`);
    if (found.dtype !== dtype) throw this.unusable(`its ${name} is ${found.dtype}, not ${dtype}`);
    if (`${found.shape}` !== `${shape}`) {
      throw this.unusable(`its ${name} has the shape [${found.shape}], not [${shape}]`);
    }
    return found;
  }
}
