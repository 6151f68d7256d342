/** A run's report, as `train` writes it in the end and `report` whenever it is asked for. */
import { currentGpu } from "../lib/backend/device.ts";
import { readHistory } from "../lib/checkpoint/history.ts";
import type { RunFolder } from "../lib/checkpoint/run_folder.ts";
import { loadWeights } from "../lib/checkpoint/state.ts";
import { readTestResults, type TestResults } from "../lib/checkpoint/test_results.ts";
import type { WeightsState } from "../lib/checkpoint/training_state.ts";
import { modelConfigOf, type RunConfig } from "../lib/config/run.ts";
import type { ImageDataset } from "../lib/data/dataset.ts";
import { writeFileAtomic } from "../lib/files.ts";
import { ioError, isAbsent } from "../lib/io_error.ts";
import { architectureOf } from "../lib/models/architecture.ts";
import { createViTClassifier } from "../lib/models/vit_classifier.ts";
import { figureFile } from "../lib/report/figure.ts";
import type { TestFindings } from "../lib/report/findings.ts";
import { makeReport } from "../lib/report/report_page.ts";
import { checkEvaluationData } from "../lib/train/evaluation_data.ts";
import { findTestResults, findWeights } from "../lib/train/findings.ts";
import { assignWeights } from "../lib/train/weights.ts";

/** Images that a processor tests in half a minute, where a run has no results of its own. */
const imagesOnProcessor = 1000;

/** What a report is made of. */
export interface ReportSource {
  run: RunFolder;
  config: RunConfig;
  /** Loads the data set where there are weights to test. */
  loadData: () => Promise<ImageDataset>;
  /** The folder of the page and of the folder of its pictures; made where it is missing. */
  out: string;
  /** What is known of the test images; what the run's folder has by default. */
  known?: TestResults;
  /** The most images to test where nothing is known of them; 0 for all. */
  most?: number;
  /** Told how many images are tested. */
  onBatch?: (done: number, count: number) => void;
}

/**
 * Makes a run's report and writes it, in place of an older one.
 * @returns the page's file
 * @throws {UserError} if the run, its data or its folder cannot be used.
 */
export async function writeReport(source: ReportSource): Promise<string> {
  const { run, config, out } = source;
  const history = await readHistory(run.history);
  const state = await bestWeights(run);
  const notices: string[] = [];
  if (!state) notices.push("No weights are saved yet, so there is nothing to test.");
  const test = state ? await testOf(source, state, notices) : null;
  const { html, figures } = await makeReport({
    run: run.path.slice(run.path.lastIndexOf("/") + 1),
    ...{ config, history, test, notices },
    weights: state ? await findWeights(config, state) : null,
    facts: factsOf(config, state),
  });
  const folder = `${out}/report`;
  await Deno.mkdir(folder, { recursive: true }).catch((error) => {
    throw ioError(error, "make", folder);
  });
  for (const figure of figures) {
    const { name, bytes } = figureFile(figure);
    await writeFileAtomic(`${folder}/${name}`, [bytes]);
  }
  const page = `${out}/report.html`;
  await writeFileAtomic(page, [new TextEncoder().encode(html)]);
  return page;
}

async function bestWeights({ best }: RunFolder): Promise<WeightsState | undefined> {
  try {
    return await loadWeights(best);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

async function testOf(
  { run, config, loadData, known, most, onBatch }: ReportSource,
  state: WeightsState,
  notices: string[],
): Promise<TestFindings | null> {
  const dataset = await loadData();
  const notice = checkEvaluationData(state, dataset);
  if (notice !== null) notices.push(notice);
  if (dataset.test.count === 0) {
    notices.push("The data set has no images to test on.");
    return null;
  }
  const model = createViTClassifier(modelConfigOf(config));
  try {
    assignWeights(model, state.weights, run.best);
    const gpu = currentGpu();
    return await findTestResults({
      ...{ config, model, state, dataset, onBatch },
      known: known ?? await readTestResults(run),
      most: most ?? (gpu && !gpu.isSoftware ? 0 : imagesOnProcessor),
      batchSize: config.batchSize / config.accumulate,
    });
  } finally {
    model.dispose();
  }
}

function factsOf(config: RunConfig, state: WeightsState | undefined): [string, string][] {
  const { parameters, tokens } = architectureOf(config);
  const model = `${parameters.toLocaleString("en")} parameters, ${tokens} tokens, ` +
    `${config.transformerLayers} blocks`;
  if (!state) return [["model", model]];
  const { dataset, step, epoch, computedOn, versions } = state;
  const device = computedOn &&
    [computedOn.backend, computedOn.adapter].filter((part) => part !== undefined).join(", ");
  return [
    ["model", model],
    ["data", `${dataset.name}, ${dataset.trainCount.toLocaleString("en")} images to train on`],
    ["best weights", `of epoch ${epoch}, step ${step.toLocaleString("en")}`],
    ["computed on", device ?? "not known"],
    ["versions", Object.entries(versions).map((pair) => pair.join(" ")).join(", ")],
    ["seed", String(config.seed)],
  ];
}
