/** `deno task train`: trains a Vision Transformer and keeps the run in a folder. */
import type { BackendChoice } from "../lib/backend/select.ts";
import { removeUnusedRun, type RunFolder } from "../lib/checkpoint/run_folder.ts";
import { progressOf } from "../lib/checkpoint/progress.ts";
import { readHistory } from "../lib/checkpoint/history.ts";
import { loadWeights } from "../lib/checkpoint/state.ts";
import { writeTestResults } from "../lib/checkpoint/test_results.ts";
import type { RunConfig } from "../lib/config/run.ts";
import { UserError } from "../lib/errors.ts";
import { bestEpoch, formatSummary, shellWord } from "../lib/report/summary.ts";
import { tf } from "../lib/tfjs.ts";
import { checkStart, type SplitCounts } from "../lib/train/check_start.ts";
import type { Guesses } from "../lib/train/evaluate.ts";
import { budgetText, memoryText } from "../lib/train/memory_text.ts";
import { stepMemory } from "../lib/train/step_memory.ts";
import { testResultsOf } from "../lib/train/findings.ts";
import { trainRun } from "../lib/train/run.ts";
import type { SaveEvery } from "../lib/train/saver.ts";
import { checkPrecision } from "../lib/train/precision.ts";
import denoJson from "../deno.json" with { type: "json" };
import { countOf, oneOf, runTask } from "./cli.ts";
import { type Company, inCompany } from "./company.ts";
import { loadRunData } from "./data_options.ts";
import { Lines } from "./lines.ts";
import { checkPort, ownHost, portOf } from "./live_server.ts";
import { serveBeside } from "./live_thread.ts";
import { OutputClosed } from "./output.ts";
import { askToReach, askToWrite } from "./permissions.ts";
import { prepareTogether, selectTogether, shareForms } from "./ranked_start.ts";
import { listenForStop } from "./signals.ts";
import { command, type TrainOptions } from "./train_command.ts";
import { TrainDisplay } from "./train_display.ts";
import { TrainRecords } from "./train_records.ts";
import { tuneKernels } from "./tuning.ts";
import { writeReport } from "./write_report.ts";

await runTask(() => inCompany(train));

async function train(company: Company): Promise<number> {
  await company.parse(command);
  const given = command.opts() as Record<string, unknown>;
  const options = given as unknown as TrainOptions;
  const { json } = options;
  const saveEvery = parseSaveEvery(options.saveEvery);
  const keep = countOf("--keep", options.keep, "states");
  const onNan = oneOf("--on-nan", options.onNan, { stop: "stop", skip: "skip" } as const);
  // What is printed with --json is JSON lines alone.
  const lines = new Lines(company.screen, json, undefined, options.quiet);
  const onNotice = (text: string) => lines.notice(text);
  await using owned = new AsyncDisposableStack();
  const port = options.serve === undefined ? undefined : portOf(options.serve);
  await company.together(async () => {
    await askToReach("--data", options.data);
    if (!company.leads) return;
    if (options.tensorboard !== undefined) await askToWrite("--tensorboard", options.tensorboard);
    if (port !== undefined) checkPort(ownHost, port);
  });
  const start = await prepareTogether(company, options, given, owned, onNotice);
  if ("complete" in start) {
    if (json) lines.say(JSON.stringify(start));
    return 0;
  }
  const { config, resume, initial } = start;

  const choice = await selectTogether(company, options.backend, start.computedOn, onNotice);
  lines.remark(
    `Backend ${choice.reason}${config.precision === "f32" ? "" : `, ${config.precision}`}`,
  );
  await company.together(() => checkPrecision(config.precision));
  if (start.trains) {
    await company.inTurns(() =>
      tuneKernels(choice, config, options.tune, onNotice, start.computedOn)
    );
    shareForms(company);
  }
  const dataset = await company.inTurns(() =>
    loadRunData(config, options, onNotice, company.leads)
  );
  await company.assertSame({ data: dataset.name, "checksum of the data": dataset.identity });
  // Before the folder is made, or a refusal would come after its name.
  const counts = await company.together(() => checkStart(config, dataset, initial));
  const share = Math.min(config.batchSize / config.accumulate, counts.train);
  const memory = stepMemory(config, {
    batch: Math.ceil(share / (company.ranks?.size ?? 1)),
    isCaptured: choice.name === "webgpu",
  });
  const { run, lock } = await company.together(start.open);
  const answers = !company.leads ? "not" : company.ranks ? "for all" : "alone";
  using stop = await listenForStop(json || options.quiet, answers);
  const began = performance.now();
  let broken: { error: unknown } | undefined;
  const result = await (async () => {
    if (json) {
      lines.say(JSON.stringify({
        ...firstLine(run, choice, config, counts, resume?.step ?? 0),
        ...(start.trains && { memory }),
      }));
    } else {
      lines.remark(`Run folder ${run.path}`);
      if (start.trains) {
        lines.remark(`${memoryText(memory, config.precision)}\n${budgetText(config, memory)}`);
      }
    }
    if (port !== undefined && company.leads) {
      const page = owned.use(await serveBeside({ runs: [run.path], port }));
      onNotice(`Live page: ${page.url}`);
    }
    if (start.trains) tellOfValidation(config, counts, onNotice);
    const { tensorboard } = options;
    // A run that is only tested has written all this.
    const records = start.trains && company.leads
      ? await TrainRecords.begin({
        ...{ run, config, dataset, tensorboard },
        progress: resume && progressOf(resume),
      })
      : undefined;
    const display = new TrainDisplay(lines, {
      compiles: start.trains && choice.name === "webgpu",
      signal: stop.signal,
      ...(choice.isSoftware && !resume && given.preset !== "tiny" && { hint: hintToTiny }),
    });
    const result = await trainRun({
      ...{ config, dataset, folder: run, lock, onNan, save: { every: saveEvery, keep } },
      start: resume ? { resume } : initial && { initial },
      reschedule: options.reschedule,
      versions: { "deno-vit": denoJson.version, tfjs: tf.version.tfjs!, deno: Deno.version.deno },
      signal: stop.signal,
      ranks: company.ranks,
      onEvent: (event) => {
        records?.handle(event);
        // What cannot be printed is no reason to lose what was trained.
        try {
          if (!broken) display.handle(event);
        } catch (error) {
          broken = { error };
          stop.stop();
        }
      },
    });
    await records?.end(result.step, result.test).catch((error: Error) => onNotice(error.message));
    return result;
  })().catch(async (error: unknown) => {
    // The first error is the one to report, whatever has become of the folder.
    await lock.release().catch(() => {});
    if (!resume && company.leads) await removeUnusedRun(run);
    throw error;
  });
  const { step, skippedSteps, test, guesses } = result;
  const report = guesses && !broken ? await keepResults(guesses) : undefined;
  await lock.release();
  if (!company.leads) return 0;
  const goOn = `Stopped and saved at step ${step}; go on with: deno task train --resume ${
    shellWord(run.path)
  }`;
  if (broken) {
    if (test === null && !(broken.error instanceof OutputClosed)) console.error(goOn);
    throw broken.error;
  }

  const seconds = Math.round(performance.now() - began) / 1000;
  if (skippedSteps > 0) {
    onNotice(`${skippedSteps} updates were left out, their gradient being NaN or infinite.`);
  }
  const { epochs } = config;
  const best = test && bestEpoch(await readHistory(run.history));
  if (json) {
    const figures = test && { loss: test.loss, accuracy: test.accuracy, top5: test.top5 };
    const object = { run: run.path, complete: test !== null, step, epochs, skippedSteps, seconds };
    lines.say(JSON.stringify({ ...object, best, test: figures, report: report ?? null }));
  } else if (test) {
    const summary = { run: run.path, epochs, step, best, test, seconds, report };
    for (const line of formatSummary(summary)) lines.say(line);
  } else {
    lines.say(goOn);
  }
  return test ? 0 : stop.exitCode;

  /** Writes what the test has found, and the report; the run is complete also without. */
  async function keepResults(guesses: Guesses): Promise<string | undefined> {
    try {
      const best = await loadWeights(run.best);
      const results = testResultsOf(guesses, best.step, dataset.identity);
      await writeTestResults(run, results);
      if (!options.report) return undefined;
      lines.progress("Making the report …");
      const loadData = () => Promise.resolve(dataset);
      return await writeReport({ run, config, loadData, out: run.path, known: results });
    } catch (error) {
      onNotice(`The run is complete, but its report is not: ${(error as Error).message}`);
      return undefined;
    }
  }
}

/** What a program that reads the JSON lines learns before the first epoch. */
function firstLine(
  run: RunFolder,
  { name, reason }: BackendChoice,
  { epochs, precision }: RunConfig,
  images: SplitCounts,
  step: number,
): Record<string, unknown> {
  return { run: run.path, backend: name, reason, precision, step, epochs, images };
}

function hintToTiny(duration: string): string {
  return `About ${duration} left, as a processor computes here; --preset tiny suits one.`;
}

/** That no image is held out although some should be. */
function tellOfValidation(
  { validationSplit }: RunConfig,
  { train, validation }: SplitCounts,
  onNotice: (text: string) => void,
): void {
  if (validation > 0 || validationSplit === 0) return;
  onNotice(
    `Training on ${train === 1 ? "1 image" : `${train} images`} and validating on none, for ` +
      `--validation-split ${validationSplit} of them is less than one; the newest weights count as ` +
      `the best.`,
  );
}

function parseSaveEvery(text: string): SaveEvery {
  const [, digits, unit] = /^(\d{1,9})(m?)$/.exec(text) ?? [];
  if (digits === undefined) {
    throw new UserError(
      `Option --save-every cannot be "${text}"; give steps, such as 500, or minutes, such as 10m.`,
    );
  }
  const count = Number(digits);
  if (count === 0) return null;
  return unit === "m" ? { minutes: count } : { steps: count };
}
