/**
 * The states that a run keeps: `last.safetensors` is the newest, `step-00001234.safetensors` are
 * the ones before it. An older one goes only when a newer is whole and synced.
 */
import { UserError } from "../errors.ts";
import type { RunFolder } from "./run_folder.ts";
import { type Loaded, loadState, saveState, verifyState } from "./state.ts";
import type { TrainingState } from "./training_state.ts";
import { readFolder, removeFile } from "../files.ts";
import { ioError } from "../io_error.ts";

/** A loaded state and what was passed over to find it. */
export interface FoundState {
  state: TrainingState & Loaded;
  /** Its file. */
  path: string;
  /** Newer files that could not be used, and why; newest first. */
  refused: { path: string; reason: string }[];
}

/** The file that a state of that step is kept in once a newer one is `last`. */
export function earlierPath(run: RunFolder, step: number): string {
  return `${run.path}/step-${String(step).padStart(8, "0")}.safetensors`;
}

/**
 * Loads the newest state of a run that is valid.
 * @returns null when the run has no file of a state at all.
 * @throws {UserError} naming the faults of all, if none is valid.
 */
export async function loadNewestState(run: RunFolder): Promise<FoundState | null> {
  const paths = [...await exists(run.last) ? [run.last] : []];
  for (const step of await earlierSteps(run)) paths.push(earlierPath(run, step));
  const refused: FoundState["refused"] = [];
  for (const path of paths) {
    try {
      return { state: await loadState(path), path, refused };
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      refused.push({ path, reason: error.message });
    }
  }
  const [first, ...others] = refused;
  if (!first) return null;
  if (others.length === 0) throw new UserError(first.reason);
  throw new UserError(
    `None of the ${refused.length} states in ${run.path} can be used; of the newest: ` +
      first.reason,
  );
}

/** Writes the states of one run, and decides which stay. Not for two writers at once. */
export class StateKeeper {
  /** The step of a `last` that is known to be good; undefined before the first save. */
  private goodStep: number | null | undefined;

  /** @param keep how many states stay, `last` among them; at least 1 */
  constructor(private readonly run: RunFolder, private readonly keep: number) {
    if (!(Number.isSafeInteger(keep) && keep >= 1)) {
      throw new RangeError(`${keep} states cannot be kept`);
    }
  }

  /**
   * Saves a state as `last`; the one before becomes `step-…`, unless it is damaged.
   * @throws {UserError} if the file cannot be written; all older states then stay as they were.
   */
  async save(state: TrainingState): Promise<void> {
    const { run, keep } = this;
    if (this.goodStep === undefined) this.goodStep = await stepOfGood(run.last);
    const earlier = this.goodStep;
    const { step } = state;
    await saveState(run.last, state, async () => {
      // A state ahead of this one is of a course that the run has left.
      if (keep > 1 && earlier !== null && earlier < step) {
        await keepAs(run.last, earlierPath(run, earlier));
      }
    });
    this.goodStep = step;
    const steps = await earlierSteps(run);
    const behind = steps.filter((each) => each < step);
    for (const each of steps) {
      if (behind.indexOf(each) >= 0 && behind.indexOf(each) < keep - 1) continue;
      await removeFile(earlierPath(run, each));
    }
  }
}

/** Gives a file a second name, the first of which is about to go to another file. */
async function keepAs(path: string, other: string): Promise<void> {
  await removeFile(other);
  try {
    // A link and not a renaming, so that there is a `last` at every moment.
    await Deno.link(path, other);
  } catch {
    // Some file systems have no links.
    await Deno.rename(path, other).catch((error) => {
      throw ioError(error, "write", other);
    });
  }
}

/** The step of a state, every byte of it verified; null where there is none that is good. */
async function stepOfGood(path: string): Promise<number | null> {
  if (!await exists(path)) return null;
  try {
    return await verifyState(path);
  } catch (error) {
    if (error instanceof UserError) return null;
    throw error;
  }
}

/** The steps of the states that are kept beside `last`, highest first. */
async function earlierSteps(run: RunFolder): Promise<number[]> {
  const steps: number[] = [];
  for (const { name } of await readFolder(run.path)) {
    const digits = /^step-(\d{8,15})\.safetensors$/.exec(name)?.[1];
    if (digits !== undefined) steps.push(Number(digits));
  }
  return steps.sort((a, b) => b - a);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw ioError(error, "read", path);
  }
}
