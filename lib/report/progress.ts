/** Lines of training as Keras prints them; pure functions from numbers to text. */

const barWidth = 20;

/** What a progress line tells. */
export interface ProgressLine {
  /** From 1. */
  epoch: number;
  epochs: number;
  /** Steps of the epoch that are done. */
  step: number;
  steps: number;
  /** Wall-clock time of a step in milliseconds, a mean over recent ones. */
  msPerStep: number;
  imagesPerSecond: number;
  /** Seconds until training ends. */
  secondsLeft: number;
  /** Means over the epoch so far, in the order in which they are printed. */
  metrics: Readonly<Record<string, number | null>>;
}

/** What the line of a finished epoch tells. */
export interface EpochLine {
  /** From 1. */
  epoch: number;
  epochs: number;
  steps: number;
  /** Of the epoch, validation included. */
  seconds: number;
  msPerStep: number;
  imagesPerSecond: number;
  /** Of training and validation, in the order in which they are printed. */
  metrics: Readonly<Record<string, number | null>>;
}

/**
 * `Epoch 3/100  120/176 [=============>......] 125ms/step 2048 img/s eta 00:12:31 - loss: 3.9012`.
 *
 * Counts are padded, so the line keeps its width within a run but for the metrics.
 */
export function formatProgress(line: ProgressLine): string {
  const { epoch, epochs, step, steps } = line;
  return `Epoch ${pad(epoch, epochs)}/${epochs}  ${pad(step, steps)}/${steps} ${
    bar(step / steps)
  } ` +
    `${formatSpeed(line)} eta ${formatDuration(line.secondsLeft)}${formatMetrics(line.metrics)}`;
}

/** `Epoch 3/100  176/176 [====================] 22s 125ms/step 2048 img/s - loss: 3.9012 - …`. */
export function formatEpoch(line: EpochLine): string {
  const { epoch, epochs, steps } = line;
  const seconds = line.seconds < 60 ? `${Math.round(line.seconds)}s` : formatDuration(line.seconds);
  return `Epoch ${pad(epoch, epochs)}/${epochs}  ${steps}/${steps} ${bar(1)} ${seconds} ` +
    `${formatSpeed(line)}${formatMetrics(line.metrics)}`;
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

function formatSpeed({ msPerStep, imagesPerSecond }: ProgressLine | EpochLine): string {
  const time = msPerStep < 9.95 ? msPerStep.toFixed(1) : msPerStep.toFixed(0);
  const images = imagesPerSecond < 9.95 ? imagesPerSecond.toFixed(1) : imagesPerSecond.toFixed(0);
  return `${time}ms/step ${images} img/s`;
}

function bar(share: number): string {
  const filled = Math.min(barWidth, Math.max(0, Math.floor(share * barWidth)));
  if (filled === barWidth) return `[${"=".repeat(barWidth)}]`;
  return `[${"=".repeat(filled)}>${".".repeat(barWidth - filled - 1)}]`;
}

function pad(count: number, largest: number): string {
  return String(count).padStart(String(largest).length);
}
