/** How the loading of data is shown: a bar on a terminal, else a line now and then. */
import { format } from "@std/fmt/bytes";
import { SingleBar } from "cli-progress";
import type { DataProgress } from "../lib/data/progress.ts";

const verbs: Record<DataProgress["stage"], string> = {
  download: "Downloading",
  verify: "Checking",
  unpack: "Unpacking",
  read: "Reading",
  find: "Finding the pictures of",
  prepare: "Preparing",
};

/** Seconds between two lines about pictures. */
const lineSeconds = 10;

/** What shows progress; `stop` must be called in the end, also after an error. */
export interface DataProgressView {
  onProgress: (progress: DataProgress) => void;
  stop: () => void;
}

/** Shows progress on standard error. */
export function showDataProgress(): DataProgressView {
  return Deno.stderr.isTerminal() ? bars() : lines();
}

/** How much there is, in words. */
function amount(stage: DataProgress["stage"], count: number): string {
  return stage === "find" || stage === "prepare" ? `${count} pictures` : format(count);
}

function noteOf({ retry, perSecond, secondsLeft }: DataProgress): string {
  if (retry) return `trying again: ${retry}`;
  if (!perSecond || secondsLeft === undefined || secondsLeft === null) return "";
  const seconds = Math.ceil(secondsLeft);
  const [minutes, rest] = [Math.floor(seconds / 60), seconds % 60];
  const left = minutes > 0 ? `${minutes} min ${rest} s` : `${seconds} s`;
  return `${perSecond.toFixed(perSecond < 10 ? 1 : 0)} a second, ${left} left`;
}

function titleOf({ stage, source }: DataProgress): string {
  return `${verbs[stage]} ${source}`;
}

function bars(): DataProgressView {
  let bar: SingleBar | null = null;
  let title = "";
  const stop = () => {
    bar?.stop();
    bar = null;
  };
  const onProgress = (progress: DataProgress) => {
    const { stage, done, total } = progress;
    if (bar === null || title !== titleOf(progress)) {
      stop();
      title = titleOf(progress);
      bar = new SingleBar({
        format: "{title} [{bar}] {percentage}% {bytes} {note}",
        hideCursor: true,
      });
      bar.start(total ?? 0, done, { title, bytes: amount(stage, done), note: "" });
    }
    if (total !== null) bar.setTotal(total);
    bar.update(done, { bytes: amount(stage, done), note: noteOf(progress) });
  };
  return { onProgress, stop };
}

function lines(): DataProgressView {
  let title = "";
  let nextShare = 0;
  let nextLine = 0;
  const onProgress = (progress: DataProgress) => {
    const { stage, done, total, retry } = progress;
    if (title !== titleOf(progress)) {
      title = titleOf(progress);
      nextShare = 0.1;
      nextLine = performance.now() + 1000 * lineSeconds;
      console.error(total === null ? title : `${title} (${amount(stage, total)})`);
    }
    if (stage === "prepare" && (performance.now() > nextLine || done === total)) {
      nextLine = performance.now() + 1000 * lineSeconds;
      const note = noteOf(progress);
      console.error(`${title}: ${done} of ${total}${note && `, ${note}`}`);
    }
    if (retry) console.error(`${title}: broken off at ${format(done)} (${retry}), trying again`);
    // Only the network takes long enough for more than one line.
    if (stage !== "download" || total === null || done / total < nextShare) return;
    console.error(`${title}: ${Math.floor((100 * done) / total)}%`);
    nextShare = (Math.floor((10 * done) / total) + 1) / 10;
  };
  return { onProgress, stop: () => {} };
}
