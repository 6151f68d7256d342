/**
 * Standard output, also where it is a full disk or a pipe whose reader has gone. `console.log` hides
 * the second and throws a bare system error at the first.
 */
import { ioError } from "../lib/io_error.ts";
import type { Screen } from "./lines.ts";

/** Thrown when nobody reads the output any more, as after `| head -1`; no fault of anybody's. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}

/**
 * Prints a line.
 * @throws {OutputClosed} if the reader has gone
 * @throws {UserError} if the disk is full
 */
export function print(line: string): void {
  write(`${line}\n`);
}

/** As {@linkcode print}, without ending the line. */
export function write(text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let done = 0; done < bytes.length;) done += Deno.stdout.writeSync(bytes.subarray(done));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) throw new OutputClosed();
    throw ioError(error, "write", "to the standard output");
  }
}

/** This process's terminal, or whatever stands in its place. */
export const screen: Screen = {
  isTerminal: Deno.stdout.isTerminal(),
  // A terminal that was told no size says 0.
  columns: () => Deno.consoleSize().columns || 80,
  write,
  writeError: (line) => console.error(line),
};
