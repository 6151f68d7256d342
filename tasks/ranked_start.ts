/** What several processes begin from: rank 0 finds it out, and tells the others. */
import type { ComputedOn } from "../lib/backend/computed_on.ts";
import { type BackendChoice, computedOn, selectBackendOfRun } from "../lib/backend/select.ts";
import { runFolder } from "../lib/checkpoint/run_folder.ts";
import type { RunConfig } from "../lib/config/run.ts";
import { broadcastText, rankOnMachine, type Ranks } from "../lib/distributed/ranks.ts";
import { UserError } from "../lib/errors.ts";
import { formsInUse, keepForms } from "../lib/kernels/forms.ts";
import { runsFolder } from "./cli.ts";
import type { Company } from "./company.ts";
import { readRunConfig } from "./run_options.ts";
import { type FinishedRun, prepareStart, type RunStart, type StartOptions } from "./train_start.ts";

/** What rank 0 tells. */
interface Told {
  /** What the options override. */
  base: RunConfig;
  trains: boolean;
  computedOn?: ComputedOn;
}

/**
 * As {@linkcode prepareStart}, which rank 0 alone does: the others need no file of a run that is
 * taken up, or whose weights are taken.
 * @throws {FailedTogether} also where the ranks' configurations differ, or a batch has fewer images
 * than there are ranks
 */
export async function prepareTogether(
  company: Company,
  options: StartOptions,
  given: Record<string, unknown>,
  owned: AsyncDisposableStack,
  onNotice: (text: string) => void,
): Promise<RunStart | FinishedRun> {
  const { ranks } = company;
  const prepare = () => prepareStart(options, given, owned, onNotice);
  if (!ranks) return await prepare();
  const own = await company.together(() => company.leads ? prepare() : undefined);
  const told: Told | FinishedRun = JSON.parse(
    broadcastText(ranks, JSON.stringify(own && ("complete" in own ? own : toldOf(own)))),
  );
  if ("complete" in told) return told;
  const start = own && !("complete" in own) ? own : undefined;
  const config = await company.together(async () => {
    const config = start?.config ?? await readRunConfig(given, told.base);
    checkShares(config, ranks);
    return config;
  });
  await company.assertSame(config);
  return start ?? { ...told, config, open: openNothing };
}

function toldOf({ base, trains, computedOn }: RunStart): Told {
  return { base, trains, computedOn };
}

/** All ranks compute in the forms that rank 0 has, which a checkpoint keeps. */
export function shareForms({ ranks }: Company): void {
  if (ranks) keepForms(JSON.parse(broadcastText(ranks, JSON.stringify(formsInUse()))));
}

/** A rank without images would compute for nothing, in every step. */
function checkShares({ batchSize, accumulate }: RunConfig, { size }: Ranks): void {
  const images = batchSize / accumulate;
  if (size <= images) return;
  const [batch, parts] = accumulate > 1
    ? ["a part of a batch", ` / ${accumulate}`]
    : ["a batch", ""];
  throw new UserError(
    `${size} ranks cannot share ${batch} of ${images} images (--batch-size ${batchSize}${parts}); ` +
      `start at most ${images} ranks, or take a larger batch.`,
  );
}

const openNothing: RunStart["open"] = () => {
  const release = () => Promise.resolve();
  const lock = { isHeld: false, check: release, release, [Symbol.asyncDispose]: release };
  return Promise.resolve({ run: runFolder(runsFolder), lock });
};

/** The backend of a run; ranks of one machine without a GPU share its processors. */
export async function selectTogether(
  company: Company,
  wanted: string,
  before: ComputedOn | undefined,
  onNotice: (text: string) => void,
): Promise<BackendChoice> {
  const { ranks } = company;
  if (!ranks) return await selectBackendOfRun(wanted, before, onNotice);
  const threads = Math.max(
    1,
    Math.floor(navigator.hardwareConcurrency / rankOnMachine(ranks).size),
  );
  const choice = await company.together(() =>
    selectBackendOfRun(wanted, before, onNotice, { threads })
  );
  const { backend, adapter = null } = computedOn();
  await company.assertSame({ backend, adapter });
  return choice;
}
