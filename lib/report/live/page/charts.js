/** The charts, one line or two for each run; uPlot draws them. */
import { percent } from "./state.js";

// Of the script before this one.
const { uPlot } = globalThis;

const short = (value) =>
  value === null || value === undefined ? "–" : String(+value.toPrecision(4));
const share = (value) => value === null || value === undefined ? "–" : percent(value);

/** As on an axis, where no digit is needed that all have as 0. */
const brief = (text) => text.replace(/\.?0+ %$/, " %");

/** What is drawn: a field of the steps or epochs in training, one of the epochs in validation. */
const kinds = [
  { id: "loss", title: "Loss", train: "loss", held: "valLoss", format: short },
  { id: "accuracy", title: "Accuracy", train: "accuracy", held: "valAccuracy", format: share },
  { id: "top5", title: "Top-5 accuracy", train: "top5", held: "valTop5", format: share },
  {
    id: "averaged",
    title: "Accuracy of the averaged weights",
    held: "emaValAccuracy",
    format: share,
  },
  { id: "rate", title: "Learning rate", train: "learningRate", format: short },
  { id: "pace", title: "Images per second", train: "imagesPerSecond", format: short },
];

const charts = new Map();

/** Draws all charts anew from the runs that are shown; those without a value are hidden. */
export function drawCharts(runs) {
  for (const kind of kinds) {
    const lines = runs.filter(({ isShown }) => isShown).flatMap((run) => linesOf(run, kind));
    draw(kind, lines);
  }
}

function linesOf({ name, color, steps, epochs, reference }, { train, held }) {
  const lines = [];
  const add = (label, look, points) => {
    const known = points.filter(([, value]) => typeof value === "number");
    if (known.length > 0) lines.push({ label, ...look, points: known });
  };
  if (train) {
    const ofEpochs = epochs.map((line) => [line.epoch, line[train]]);
    const ofSteps = steps.map((line) => [line.at, line[train]]);
    const first = ofSteps[0]?.[0] ?? Infinity;
    add(`${name}, train`, { stroke: color, dash: [6, 4] }, [
      ...ofEpochs.filter(([at]) => at < first),
      ...ofSteps,
      ...(ofSteps.length > 0 ? [] : ofEpochs.filter(([at]) => at >= first)),
    ]);
  }
  if (held) {
    add(`${name}, validation`, { stroke: color }, epochs.map((line) => [line.epoch, line[held]]));
    const last = epochs.at(-1)?.epoch ?? 0;
    const near = (reference?.epochs ?? []).filter(({ epoch }) => epoch <= Math.max(3, 1.5 * last));
    if (reference) {
      add(
        reference.name,
        { stroke: color, dash: [2, 4] },
        near.map((line) => [line.epoch, line[held]]),
      );
    }
  }
  return lines;
}

function draw({ id, title, format }, lines) {
  let chart = charts.get(id);
  if (!chart) {
    const place = document.createElement("figure");
    const heading = document.createElement("h2");
    heading.textContent = title;
    place.append(heading);
    document.querySelector("#charts").append(place);
    chart = { place, plot: null, key: "" };
    charts.set(id, chart);
    new ResizeObserver(() => chart.plot?.setSize(sizeOf(place))).observe(place);
  }
  chart.place.hidden = lines.length === 0;
  if (lines.length === 0) return;
  const columns = lines.map(({ points }) => [points.map(([x]) => x), points.map(([, y]) => y)]);
  const data = columns.length === 1 ? columns[0] : uPlot.join(columns);
  // Other lines want another plot; new points of the same do not.
  const key = JSON.stringify(lines.map(({ label, stroke }) => [label, stroke]));
  if (chart.plot && chart.key === key) chart.plot.setData(data);
  else {
    chart.plot?.destroy();
    chart.key = key;
    chart.plot = new uPlot(optionsOf(chart.place, lines, format), data, chart.place);
    chart.plot.root.querySelector("canvas").setAttribute("role", "img");
  }
  const latest = lines.map(({ label, points }) => `${label} ${format(points.at(-1)[1])}`).join(
    "; ",
  );
  chart.plot.root.querySelector("canvas").setAttribute("aria-label", `${title}: ${latest}`);
}

function optionsOf(place, lines, format) {
  const style = getComputedStyle(document.documentElement);
  const [ink, rule] = ["--muted", "--rule"].map((name) => style.getPropertyValue(name));
  const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 } };
  return {
    ...sizeOf(place),
    scales: { x: { time: false } },
    cursor: { sync: { key: "epochs" } },
    axes: [
      { ...axis, label: "epoch", labelSize: 20, size: 40 },
      { ...axis, size: 64, values: (_, values) => values.map((value) => brief(format(value))) },
    ],
    series: [
      { label: "epoch", value: (_, value) => value === null ? "–" : value.toFixed(2) },
      ...lines.map(({ label, stroke, dash, points }) => ({
        ...{ label, stroke, dash, width: 2, spanGaps: true },
        points: { show: points.length < 3 },
        value: (_, value) => format(value),
      })),
    ],
  };
}

function sizeOf(place) {
  return { width: Math.max(240, place.clientWidth), height: 240 };
}

/** Draws all anew in the colours of now. */
export function recolor(runs) {
  for (const chart of charts.values()) chart.key = "";
  drawCharts(runs);
}
