/** Whether two calls of a function asked the same of the device. */
import { CaptureError, type Command, isVirtual, type Recording } from "./notes.ts";

/**
 * Asserts that two recordings of a function are equal.
 *
 * @throws {CaptureError} naming the first operation that differs
 */
export function assertEqual(a: Recording<unknown>, b: Recording<unknown>): void {
  b.commands.forEach((command, index) => {
    const other = a.commands[index];
    const buffers = other && buffersOf(command, other);
    if (!buffers) throw new CaptureError(differs(command.op));
    for (const [mine, others] of buffers) {
      if (!isVirtual(mine) || !isVirtual(others)) {
        if (mine !== others) throw new CaptureError(differs(command.op));
      } else if (mine.size !== others.size || mine.index !== others.index) {
        throw new CaptureError(differs(command.op));
      } else if (!areEqual(mine.content, others.content)) {
        throw new CaptureError(
          `${command.op} gets ${mine.size} bytes from JavaScript that are not the same at each ` +
            `call (random numbers, a counter, a rate); make them an input.`,
        );
      }
    }
  });
  if (a.commands.length !== b.commands.length) {
    throw new CaptureError(differs(a.commands[b.commands.length]!.op));
  }
}

/** The buffers of two commands in pairs, if the commands are of one kind. */
function buffersOf(a: Command, b: Command): [GPUBuffer, GPUBuffer][] | null {
  if (a.kind === "copy") {
    if (b.kind !== "copy" || a.size !== b.size) return null;
    return [[a.source, b.source], [a.target, b.target]];
  }
  if (b.kind !== "dispatch" || a.pipeline !== b.pipeline) return null;
  if (a.workgroups.join() !== b.workgroups.join()) return null;
  return a.bindings.map(({ buffer }, i) => [buffer, b.bindings[i]!.buffer]);
}

function differs(op: string): string {
  return `The function does not do the same at each call, first at ${op}; all shapes and all ` +
    `choices must stay.`;
}

function areEqual(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (!a || !b) return a === b;
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
