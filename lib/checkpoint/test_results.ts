/**
 * What the best weights made of the test images: `test.json` in a run's folder, so that a report
 * need not test anew.
 */
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";
import { readBoundedFile, writeFileAtomic } from "../files.ts";
import { isAbsent } from "../io_error.ts";
import type { RunFolder } from "./run_folder.ts";

const schema = z.strictObject({
  /** The step of the weights that were tested. */
  step: z.int().min(0),
  /** Checksum of the data set's record bytes. */
  identity: z.string(),
  loss: z.number().nullable(),
  /** 0 to 1, as all accuracies. */
  accuracy: z.number(),
  top5: z.number(),
  /** What each image was taken for, by the index of the class. */
  guesses: z.array(z.int().min(0)),
  /** How likely that seemed, 0 to 1. */
  probabilities: z.array(z.number()),
  /** The loss of each image. */
  losses: z.array(z.number().nullable()),
  /** A digit an image: 1 where its class was among the first five guesses. */
  inTop5: z.string(),
});

/** @internal */
type Schema = typeof schema;

/** What was made of each test image. */
export type TestResults = z.infer<Schema>;

/** Ten million images, and no data set here has so many to test on. */
const maxBytes = 1 << 28;

/** Where a run's results lie. */
export function testResultsPath(run: RunFolder): string {
  return `${run.path}/test.json`;
}

/**
 * Writes results, in place of older ones.
 * @throws {UserError} if the file cannot be written.
 */
export async function writeTestResults(run: RunFolder, results: TestResults): Promise<void> {
  const short = (values: (number | null)[]) =>
    values.map((value) => value === null ? null : Math.round(value * 1e4) / 1e4);
  const { probabilities, losses, ...rest } = results;
  const stored = { ...rest, probabilities: short(probabilities), losses: short(losses) };
  const text = JSON.stringify(stored) + "\n";
  await writeFileAtomic(testResultsPath(run), [new TextEncoder().encode(text)]);
}

/**
 * Reads a run's results; undefined where there are none.
 * @throws {UserError} if the file is damaged.
 */
export async function readTestResults(run: RunFolder): Promise<TestResults | undefined> {
  const path = testResultsPath(run);
  let bytes: Uint8Array;
  try {
    bytes = await readBoundedFile(path, maxBytes, "test results");
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
  try {
    const results = schema.parse(JSON.parse(new TextDecoder().decode(bytes)));
    const { guesses, probabilities, losses, inTop5 } = results;
    const counts = [guesses, probabilities, losses, inTop5].map(({ length }) => length);
    if (counts.every((count) => count === counts[0])) return results;
  } catch {
    // Said below.
  }
  throw new UserError(`${path} is damaged; remove it, and the images are tested anew.`);
}
