/** Taking up a run again, after whatever ended it. */
import type { RunConfig } from "../config/run.ts";
import { UserError } from "../errors.ts";
import { checkHistory } from "./consistency.ts";
import { lockRun, type RunLock } from "./lock.ts";
import { openRunFolder, readOrigin, type RunFolder } from "./run_folder.ts";
import { readHistory } from "./history.ts";
import type { TrainingState } from "./training_state.ts";
import { loadNewestState } from "./states.ts";
import { removeTemporaries } from "../files.ts";

/** A run that this process may go on with. */
export interface ReopenedRun {
  /** Its folder. */
  run: RunFolder;
  /** As `config.json` has it. */
  config: RunConfig;
  /** To be released in the end. */
  lock: RunLock;
  /** The newest valid state; undefined where the run ended before its first save. */
  state?: TrainingState;
  /** Notices for a person, a sentence each. */
  notices: string[];
}

/**
 * Locks a run's folder, clears away what a killed process left half written, and loads the newest
 * valid state.
 * @throws {UserError} if there is no run, another process trains it, or none of its states is valid.
 *
 * @example
 * ```ts
 * import { createRunFolder, preset, reopenRun } from "../../mod.ts";
 *
 * const path = `${await Deno.makeTempDir()}/run`;
 * await createRunFolder(path, preset("tiny"));
 * const { state, notices, lock } = await reopenRun(path);
 * console.log(state, notices); // undefined: it ended before its first save
 * await lock.release();
 * ```
 */
export async function reopenRun(path: string): Promise<ReopenedRun> {
  const { run, config } = await openRunFolder(path);
  const lock = await lockRun(run.path);
  try {
    const notices = noticesOf(run, lock);
    await removeTemporaries(run.path);
    const found = await loadNewestState(run);
    if (found) {
      for (const { reason } of found.refused) notices.push(reason);
      if (found.refused.length > 0 || found.path !== run.last) {
        notices.push(`Going on from the state before it, ${found.path}, step ${found.state.step}.`);
      }
      checkHistory(await readHistory(run.history), found.state, run.history);
      return { run, config, lock, state: found.state, notices };
    }
    await assertHasNotBegun(run);
    notices.push(`${run.path} ended before its first save; it starts again from its beginning.`);
    return { run, config, lock, notices };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** Notices of a lock, a sentence each. */
export function noticesOf(run: RunFolder, lock: RunLock): string[] {
  const notices: string[] = [];
  if (lock.takenFrom !== undefined) {
    notices.push(
      `Process ${lock.takenFrom} ended without giving ${run.path} back; its lock is taken over.`,
    );
  }
  if (!lock.isHeld) {
    notices.push(
      `The file system of ${run.path} has no locks, so nothing keeps a second trainer out.`,
    );
  }
  return notices;
}

/** A run without a state may start again only if that gives the same run. */
async function assertHasNotBegun(run: RunFolder): Promise<void> {
  const origin = await readOrigin(run);
  if (origin !== undefined) {
    throw new UserError(
      `${run.path} ended before it had saved its first weights, those of ${origin}; remove it and ` +
        `start it again with --init-from ${origin}.`,
    );
  }
  // The first epoch's line is written before its state.
  if ((await readHistory(run.history)).length > 1) {
    throw new UserError(
      `${run.path} has no state to go on from, though epochs were trained; start a new run from ` +
        `its best weights with --init-from ${run.path}.`,
    );
  }
}
