/** The curves of a run. */
import type { HistoryLine } from "../../checkpoint/history.ts";
import { type Line, type LineChart, lineSvg } from "../charts.ts";
import { lineColors } from "../colors.ts";
import type { Figure } from "../figure.ts";
import type { ReferenceCurve } from "../reference_curves.ts";

type Field = "loss" | "accuracy" | "top5" | "valLoss" | "valAccuracy" | "valTop5" | "learningRate";

/** One chart: a line of training, one of the images held out, one of the weights' running average. */
interface Chart {
  name: string;
  title: string;
  caption: string;
  isShare: boolean;
  fields: { name: string; field: string; color: string; style?: Line["style"] }[];
  reference?: Field;
}

const [blue, orange, green, pink] = lineColors;

function lossAndShare(
  [name, title]: [name: string, title: string],
  [train, held, averaged]: [Field, Field, string],
  caption: string,
): Chart {
  return {
    ...{ name, title, caption, isShare: name !== "loss", reference: held },
    fields: [
      { name: "train", field: train, color: orange, style: "dashed" },
      { name: "validation", field: held, color: blue },
      { name: "validation, averaged weights", field: averaged, color: green },
    ],
  };
}

const charts: readonly Chart[] = [
  lossAndShare(
    ["loss", "Loss"],
    ["loss", "valLoss", "emaValLoss"],
    "Mean cross-entropy after each epoch; that of training is with dropout and augmentation.",
  ),
  lossAndShare(
    ["accuracy", "Accuracy"],
    ["accuracy", "valAccuracy", "emaValAccuracy"],
    "Share of images whose first guess is right, after each epoch.",
  ),
  lossAndShare(
    ["top5", "Top-5 accuracy"],
    ["top5", "valTop5", "emaValTop5"],
    "Share of images with the right class among the first five guesses.",
  ),
  {
    ...{ name: "learning_rate", title: "Learning rate", isShare: false },
    caption: "The step size of each epoch's last update.",
    fields: [{ name: "learning rate", field: "learningRate", color: blue }],
  },
];

/** The charts of a history; those without a single value are left out. */
export async function curveFigures(
  history: readonly HistoryLine[],
  reference: ReferenceCurve | undefined,
): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const chart of charts) {
    const lines = chart.fields.map(({ field, ...look }): Line => ({
      ...look,
      points: history.map((line) => [line.epoch, numberOf(line[field])] as const),
    })).filter(({ points }) => points.some(([, value]) => value !== null));
    if (lines.length === 0) continue;
    const known = chart.reference && reference &&
      referenceLine(reference, chart.reference, history);
    if (known) lines.push(known);
    const { name, title, caption, isShare } = chart;
    const drawn: LineChart = { xName: "epoch", isShare, lines };
    figures.push({ name, title, caption, image: await lineSvg(drawn) });
  }
  return figures;
}

/** What a reference has of a field, as far as it helps to read the run's own curve. */
function referenceLine(
  { name, epochs }: ReferenceCurve,
  field: Field,
  history: readonly HistoryLine[],
): Line | undefined {
  const last = history.at(-1)!.epoch;
  const points = epochs.flatMap((epoch) => {
    const value = epoch[field as keyof typeof epoch];
    // A point far to the right would press the run into a corner.
    return value === undefined || epoch.epoch > Math.max(3, 1.5 * last)
      ? []
      : [[epoch.epoch, value] as const];
  });
  return points.length === 0
    ? undefined
    : { name: `${name}, validation`, points, color: pink, style: "dots" };
}

function numberOf(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}
