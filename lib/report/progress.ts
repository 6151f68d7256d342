/**
 * Lines of training as Keras prints them, fitted to a width; pure functions from numbers to text.
 * Loss and accuracy are what must be seen: the bar shrinks and goes first, then the rest.
 */

const widestBar = 20;
const narrowestBar = 5;

/** Pace; null where too little was timed to say. */
export interface Speed {
  /** Wall-clock time of a step in milliseconds, a mean over recent ones. */
  msPerStep: number;
  imagesPerSecond: number;
}

/** Contents of a progress line. */
export interface ProgressLine {
  /** From 1. */
  epoch: number;
  epochs: number;
  /** Steps of the epoch that are done. */
  step: number;
  steps: number;
  speed: Speed | null;
  /** Seconds until training ends; null where it cannot be said. */
  secondsLeft: number | null;
  /** Means over the epoch so far, in the order in which they are printed. */
  metrics: Readonly<Record<string, number | null>>;
}

/** Contents of the line of a finished epoch. */
export interface EpochLine {
  /** From 1. */
  epoch: number;
  epochs: number;
  steps: number;
  /** Of the epoch, validation included. */
  seconds: number;
  speed: Speed | null;
  /** Of training and validation, in the order in which they are printed. */
  metrics: Readonly<Record<string, number | null>>;
  /** Whether its weights are the best so far. */
  isBest?: boolean;
  /** A small picture of the epochs so far, where the terminal can show one. */
  spark?: string;
}

/** Metrics from the one that is seen in the narrowest line on. */
const byImportance = [
  ...["val_accuracy", "loss", "ema_val_accuracy", "accuracy", "val_loss", "val_top5", "top5"],
  ...["ema_val_loss", "ema_val_top5"],
];

/**
 * `Epoch 3/100  120/176 [=============>......] 125ms/step 2048 img/s eta 00:12:31 - loss: 3.9012`.
 *
 * Counts are padded, so the line keeps its width within a run but for the metrics.
 * @param width characters that there is room for
 */
export function formatProgress(line: ProgressLine, width: number = Infinity): string {
  const { epoch, epochs, step, steps, speed, secondsLeft } = line;
  const eta = secondsLeft === null ? "" : `eta ${formatDuration(secondsLeft)}`;
  const layout = {
    head: `Epoch ${pad(epoch, epochs)}/${epochs}`,
    counts: ` ${pad(step, steps)}/${steps}`,
    share: step / steps,
  };
  return fitted(layout, [eta, ...speedTexts(speed)], [1, 2, 0], line.metrics, width);
}

/**
 * `Epoch 3/100  176/176 [====================] 22s 125ms/step 2048 img/s - loss: 3.9012 - …
 * (best)`; where that is too wide for a terminal, the metrics stand on a second line.
 * @param width characters that there is room for in a line
 */
export function formatEpoch(line: EpochLine, width: number = Infinity): string {
  const { epoch, epochs, steps, speed, isBest } = line;
  const seconds = line.seconds < 60 ? `${Math.round(line.seconds)}s` : formatDuration(line.seconds);
  const layout = {
    head: `Epoch ${pad(epoch, epochs)}/${epochs}`,
    counts: ` ${steps}/${steps}`,
    share: 1,
  };
  const best = (line.spark ? ` ${line.spark}` : "") + (isBest ? "  (best)" : "");
  const texts = [seconds, ...speedTexts(speed)];
  const whole = fitted(layout, texts, [0, 1, 2], line.metrics) + best;
  if (whole.length <= width) return whole;
  const first = fitted(layout, texts, [0, 1, 2], {}, width - best.length) + best;
  return `${first}\n ${fittedMetrics(line.metrics, width - 1)}`;
}

/** Text left of the metrics. */
interface Layout {
  /** Never left out. */
  head: string;
  /** Left out last. */
  counts: string;
  /** Of the bar that is filled, 0 to 1. */
  share: number;
}

/**
 * The line with as much as fits: first the two most important metrics, the counts, then `texts` in
 * their order, the other metrics, and what is left is the bar's.
 * @param order places of `texts` in the line
 */
function fitted(
  { head, counts, share }: Layout,
  texts: string[],
  order: number[],
  metrics: Readonly<Record<string, number | null>>,
  width: number = Infinity,
): string {
  const placed = order.map(() => "");
  let shown = "";
  let start = "";
  const line = (bar = "") =>
    [head + start, bar, ...placed].filter((text) => text !== "").join(" ") + shown;
  const fits = () => line().length <= width;
  shown = fittedMetrics(metrics, width - head.length, 2);
  start = ` ${counts}`;
  if (!fits()) {
    start = "";
    return line().slice(0, width);
  }
  texts.forEach((text, i) => {
    const place = order.indexOf(i);
    placed[place] = text;
    if (!fits()) placed[place] = "";
  });
  for (let count = 3; count <= Object.keys(metrics).length; count++) {
    const before = shown;
    shown = fittedMetrics(metrics, Infinity, count);
    if (!fits()) shown = before;
  }
  const room = Math.min(widestBar, width - line().length - 3);
  return room < narrowestBar ? line() : line(bar(share, room));
}

/** The most important metrics that fit, at most `count`, in their own order. */
function fittedMetrics(
  metrics: Readonly<Record<string, number | null>>,
  width: number,
  count: number = Infinity,
): string {
  const names = Object.keys(metrics).filter((name) => metrics[name] !== null);
  const rank = (name: string) => {
    const index = byImportance.indexOf(name);
    return index < 0 ? byImportance.length : index;
  };
  const ranked = names.toSorted((a, b) => rank(a) - rank(b));
  for (let kept = Math.min(count, ranked.length); kept > 0; kept--) {
    const chosen = names.filter((name) => ranked.indexOf(name) < kept);
    const text = formatMetrics(Object.fromEntries(chosen.map((name) => [name, metrics[name]!])));
    if (text.length <= width || kept === 1) return text;
  }
  return "";
}

/** `hh:mm:ss`, days before it when there are any; `--:--:--` for what is unknown or negative. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return "--:--:--";
  const whole = Math.round(seconds);
  const days = Math.floor(whole / 86400);
  const parts = [Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const clock = parts.map((part) => String(part).padStart(2, "0")).join(":");
  return days === 0 ? clock : `${days}d ${clock}`;
}

/** ` - loss: 3.9012 - accuracy: 0.1034`; what is null is left out, tiny numbers keep 4 digits. */
export function formatMetrics(metrics: Readonly<Record<string, number | null>>): string {
  return Object.entries(metrics)
    .filter((entry): entry is [string, number] => entry[1] !== null)
    .map(([name, value]) => ` - ${name}: ${formatNumber(value)}`)
    .join("");
}

function formatNumber(value: number): string {
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(4) : value.toFixed(4);
}

function speedTexts(speed: Speed | null): [time: string, images: string] {
  if (speed === null) return ["", ""];
  const short = (value: number) => value.toFixed(value < 9.95 ? 1 : 0);
  return [`${short(speed.msPerStep)}ms/step`, `${short(speed.imagesPerSecond)} img/s`];
}

function bar(share: number, width: number): string {
  const filled = Math.min(width, Math.max(0, Math.floor(share * width)));
  if (filled === width) return `[${"=".repeat(width)}]`;
  return `[${"=".repeat(filled)}>${".".repeat(width - filled - 1)}]`;
}

function pad(count: number, largest: number): string {
  return String(count).padStart(String(largest).length);
}
