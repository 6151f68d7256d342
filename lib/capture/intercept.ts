/** Members of tfjs's objects, replaced for a while; and the call that is captured. */
import { tf } from "../tfjs.ts";
import type { CapturableBackend } from "./notes.ts";
import { CaptureError, engine } from "./notes.ts";

/** Replacements that are undone together. */
export class Hooks {
  private readonly undo: (() => void)[] = [];
  private readonly ops: string[] = [];

  /** Puts members before those that `target` has. */
  replace(target: object, members: Record<string, unknown>): void {
    for (const [name, value] of Object.entries(members)) {
      const own = Object.getOwnPropertyDescriptor(target, name);
      Object.defineProperty(target, name, { value, configurable: true, writable: true });
      this.undo.push(() => {
        if (own) Object.defineProperty(target, name, own);
        else Reflect.deleteProperty(target, name);
      });
    }
  }

  /** Has something done when the hooks are removed, after the replacements made before are undone. */
  atEnd(action: () => void): void {
    this.undo.unshift(action);
  }

  /** Keeps track of the operation at work, for messages. */
  followOps(): void {
    const runKernel = engine().runKernel.bind(engine());
    this.replace(engine(), {
      runKernel: (name: string, ...rest: unknown[]) => {
        this.ops.push(name);
        try {
          return runKernel(name, ...rest);
        } finally {
          this.ops.pop();
        }
      },
    });
  }

  /** The operation at work. */
  get op(): string {
    return this.ops.at(-1) ?? "the function itself";
  }

  /** Undoes everything. */
  remove(): void {
    for (const undo of this.undo.splice(0).reverse()) undo();
  }
}

/** Why an operation cannot be captured. */
export function readMessage(op: string): string {
  return `${op} reads a tensor on the host, which a replay cannot repeat; ` +
    `return the tensor and read it after replay().`;
}

/**
 * Calls `fn` and disposes what it makes but does not return.
 *
 * @throws {CaptureError} when it is asynchronous
 */
export function callOnce<I, O>(fn: (inputs: I) => O, inputs: I): O {
  return tf.tidy(() => {
    const outputs = fn(inputs);
    if (outputs instanceof Promise) {
      outputs.catch(() => {});
      throw new CaptureError(
        "The function is asynchronous; only what runs in one go can be captured.",
      );
    }
    // A function may return nothing, which tfjs's type forgets.
    return outputs as O & tf.TensorContainer;
  });
}

/**
 * {@linkcode callOnce} in earnest. Synchronous reads of the device are refused, since those of tfjs
 * fail with a message that says nothing.
 */
export function warmUp<I, O>(backend: CapturableBackend, fn: (inputs: I) => O, inputs: I): O {
  const hooks = new Hooks();
  const readSync = backend.readSync.bind(backend);
  hooks.followOps();
  hooks.replace(backend, {
    readSync: (dataId: object) => {
      if (!backend.tensorMap.get(dataId).values) throw new CaptureError(readMessage(hooks.op));
      return readSync(dataId);
    },
  });
  try {
    return callOnce(fn, inputs);
  } finally {
    hooks.remove();
  }
}
