/** Files that a task writes where its user says. */
import { UserError } from "../lib/errors.ts";
import { ioError } from "../lib/io_error.ts";

/**
 * Checks that nothing has a path yet: what a task writes never replaces what is there, since a wrong
 * path would cost a model or a picture.
 * @throws {UserError} if something has, or the path cannot be looked at.
 */
export async function checkAbsent(path: string): Promise<void> {
  try {
    await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw ioError(error, "write", path);
  }
  throw new UserError(`${path} exists already; choose another --out or remove it first.`);
}
