/** What the server has told of the runs so far, and what follows from it. */

/** Colours of the runs, which colour-blind people can tell apart (Okabe and Ito, 2008). */
const colors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/** The runs in the order of the command line; `isShown` is the person's own choice. */
export const runs = [];

/** Takes in a whole run or what is new of one. */
export function take({ index, isNew, epochs, steps, ...rest }) {
  const before = runs[index];
  const kept = isNew ? undefined : before;
  runs[index] = {
    ...rest,
    color: colors[index % colors.length],
    isShown: before?.isShown ?? true,
    epochs: [...kept?.epochs ?? [], ...epochs],
    steps: [...kept?.steps ?? [], ...steps],
  };
}

/** The epoch whose weights are the best so far, as `best.safetensors` has them. */
export function bestOf({ epochs }) {
  let best;
  for (const line of epochs) {
    const value = Math.max(line.valAccuracy ?? -1, line.emaValAccuracy ?? -1);
    if (!best || value < 0 || value > best.value) best = { epoch: line.epoch, value };
  }
  return best;
}

/** 3725 as `01:02:05`. */
export function duration(seconds) {
  const whole = Math.round(seconds);
  const days = Math.floor(whole / 86400);
  const parts = [Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const clock = parts.map((part) => String(part).padStart(2, "0")).join(":");
  return days === 0 ? clock : `${days}d ${clock}`;
}

/** 0.5514 as `55.14 %`. */
export function percent(share) {
  return `${(100 * share).toFixed(2)} %`;
}
