/** A run's report: one page that needs nothing beside it, and no script. */
import type { HistoryLine } from "../checkpoint/history.ts";
import type { RunConfig } from "../config/run.ts";
import { confusedPairs, confusionMatrix, precisions } from "./confusion.ts";
import { confusionFigure } from "./figures/confusion.ts";
import { curveFigures } from "./figures/curves.ts";
import { attentionFigure, predictionFigures, weightFigures } from "./figures/pictures.ts";
import { type Figure, figureMarkup } from "./figure.ts";
import type { TestFindings, WeightFindings } from "./findings.ts";
import { html, Markup } from "./html.ts";
import css from "./page.css" with { type: "text" };
import { formatDuration } from "./progress.ts";
import { referenceCurve } from "./reference_curves.ts";
import { bestEpoch, percent } from "./summary.ts";
import { classAccuracies, type ClassAccuracy } from "./tables.ts";

/** Rows of the tables of pairs and classes. */
const mostRows = 10;

/** All that a report is made of. */
export interface ReportContent {
  /** Name of the run, for people. */
  readonly run: string;
  readonly config: RunConfig;
  readonly history: readonly HistoryLine[];
  /** Null where no weights are saved yet. */
  readonly weights: WeightFindings | null;
  /** Null where nothing was tested. */
  readonly test: TestFindings | null;
  /** What else there is to say of the run: parameters, device, versions, … */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** Sentences for whoever reads it. */
  readonly notices: readonly string[];
}

/** A report and its figures. */
export interface Report {
  /** The whole page. */
  readonly html: string;
  readonly figures: readonly Figure[];
}

/** Makes a report. */
export async function makeReport(content: ReportContent): Promise<Report> {
  const { run, config, history, weights, test } = content;
  const curves = await curveFigures(history, referenceCurve(config));
  const confusion = test && await confusionFigure(test);
  const predictions = test ? predictionFigures(test) : [];
  const attention = test && attentionFigure(test);
  const ofWeights = weights ? weightFigures(weights) : [];
  const titled = (figure: Figure) =>
    html`<section><h3>${figure.title}</h3>${figureMarkup(figure)}</section>`;
  const page = html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta http-equiv="Content-Security-Policy"
          content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
        <title>${run} – deno-vit report</title>
        <style>${new Markup(css)}</style>
      </head>
      <body>
        <main>
    <h1>${run}</h1>
    ${headline(content)}
    ${content.notices.map((text) => html`<p>${text}</p>`)}
    ${curves.length > 0 && html`
      <h2>Training</h2>
      <div class="pair">${curves.map(titled)}</div>
    `}
    ${test && html`<h2>Test</h2>${testTables(test)}${confusion && titled(confusion)}`}
    ${predictions.length > 0 && html`<h2>Predictions</h2>${predictions.map(titled)}`}
    ${attention && html`<h2>Attention</h2>${figureMarkup(attention)}`}
    ${ofWeights.length > 0 && html`
      <h2>Weights</h2>
      <div class="pair">${ofWeights.map(titled)}</div>
    `}
    <h2>The run</h2>
    ${table(["", ""], content.facts, false)}
    <details><summary>Configuration, all fields</summary>
    ${table(
      ["field", "value"],
      Object.entries(config).map(([key, value]) => [key, JSON.stringify(value)]),
      false,
    )}
    </details>
    ${history.length > 0 && html`
      <details>
        <summary>History, all epochs</summary>
        <div class="scroll">${historyTable(history)}</div>
      </details>
    `}
        </main>
      </body>
    </html>
  `;
  const figures = [...curves, confusion, ...predictions, attention, ...ofWeights]
    .filter((figure) => figure !== null);
  return { html: page.text.trimStart(), figures };
}

function headline({ config, history, test }: ReportContent): Markup {
  const best = bestEpoch(history);
  const seconds = history.reduce((sum, line) => sum + (line.seconds ?? 0), 0);
  const facts: (readonly [string, string | null | undefined])[] = [
    ["test top-1", test && percent(test.result.accuracy)],
    ["test top-5", test && percent(test.result.top5)],
    ["test loss", test && test.result.loss.toFixed(4)],
    ["best val_accuracy", best?.valAccuracy == null ? null : percent(best.valAccuracy)],
    ["best epoch", best && `${best.epoch} of ${config.epochs}`],
    ["time of training", seconds > 0 ? formatDuration(seconds) : null],
  ];
  const shown = facts.filter(([, value]) => value != null);
  return html`<dl class="facts">${
    shown.map(([name, value]) =>
      html`
        <div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>
      `
    )
  }</dl>`;
}

function testTables(test: TestFindings): Markup {
  const { classNames, labels, guesses, inTop5, tested, count } = test;
  const matrix = confusionMatrix(labels, guesses, classNames.length);
  const precision = precisions(matrix);
  const right = Array.from(labels, (label, i) => label === guesses[i] ? 1 : 0);
  const classes = classAccuracies(classNames, labels, right, inTop5)
    .map((scores, k) => ({ ...scores, precision: precision[k]! }))
    .filter((scores) => scores.count > 0)
    .sort((a, b) => b.top1 - a.top1 || b.top5 - a.top5 || (a.name < b.name ? -1 : 1));
  const pairs = confusedPairs(matrix, classNames, mostRows)
    .map(({ label, guess, count, share }) => [label, guess, String(count), percent(share)]);
  const few = Math.min(mostRows, Math.ceil(classes.length / 2));
  const head = ["class", "images", "recall", "precision", "top-5"];
  const of = tested < count
    ? `The first ${tested.toLocaleString("en")} of ${count.toLocaleString("en")} test images.`
    : `All ${count.toLocaleString("en")} test images.`;
  return html`<p class="muted">${of}</p>
<div class="pair">
<section><h3>Best classes</h3>${table(head, classes.slice(0, few).map(classRow))}</section>
<section><h3>Worst classes</h3>${
    table(head, classes.toReversed().slice(0, few).map(classRow))
  }</section>
${
    pairs.length > 0 &&
    html`<section><h3>Most confused pairs</h3>${
      table(["class", "taken for", "images", "of its images"], pairs)
    }</section>`
  }
</div>`;
}

function classRow(
  { name, count, top1, top5, precision }: ClassAccuracy & { precision: number },
): string[] {
  const share = (value: number) => Number.isNaN(value) ? "–" : `${(100 * value).toFixed(1)} %`;
  return [name, String(count), share(top1), share(precision), share(top5)];
}

function historyTable(history: readonly HistoryLine[]): Markup {
  const fields = [
    ...["epoch", "step", "loss", "accuracy", "top5", "valLoss", "valAccuracy", "valTop5"],
    ...["emaValAccuracy", "learningRate", "seconds"],
  ].filter((field) => history.some((line) => line[field] != null));
  const cell = (value: unknown) => typeof value === "number" ? String(+value.toPrecision(5)) : "";
  return table(fields, history.map((line) => fields.map((field) => cell(line[field]))));
}

/** A table whose cells that are figures stand to the right. */
function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  hasNumbers = true,
): Markup {
  const isNumber = (text: string) => hasNumbers && /^[\d.,e+-]+( %)?$|^–?$/.test(text);
  const column = (i: number) => rows.length > 0 && rows.every((row) => isNumber(row[i]!));
  const numbers = head.map((_, i) => column(i));
  const cells = (row: readonly string[]) =>
    row.map((text, i) =>
      i === 0 && !hasNumbers
        ? html`<th scope="row">${text}</th>`
        : html`<td${numbers[i] ? new Markup(' class="number"') : ""}>${text}</td>`
    );
  const titles = head.map((text, i) =>
    html`
      <th scope="col" ${numbers[i] ? new Markup(' class="number"') : ""}>${text}</th>
    `
  );
  const hasHead = head.some((text) => text !== "");
  return html`<table>${
    hasHead && html`
      <thead>
        <tr>${titles}</tr>
      </thead>
    `
  }<tbody>${rows.map((row) => html`<tr>${cells(row)}</tr>`)}</tbody></table>`;
}
