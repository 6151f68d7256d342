/** How the loading of data is shown: a bar on a terminal, else a line now and then. */
import { format } from "@std/fmt/bytes";
import { SingleBar } from "cli-progress";
import type { DataProgress } from "../lib/data/load.ts";

const verbs: Record<DataProgress["stage"], string> = {
  download: "Downloading",
  verify: "Checking",
  unpack: "Unpacking",
  read: "Reading",
};

/** What shows progress; `stop` must be called in the end, also after an error. */
export interface DataProgressView {
  onProgress: (progress: DataProgress) => void;
  stop: () => void;
}

/** Shows progress on standard error. */
export function showDataProgress(): DataProgressView {
  return Deno.stderr.isTerminal() ? bars() : lines();
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
    const { done, total, retry } = progress;
    if (bar === null || title !== titleOf(progress)) {
      stop();
      title = titleOf(progress);
      bar = new SingleBar({
        format: "{title} [{bar}] {percentage}% {bytes} {note}",
        hideCursor: true,
      });
      bar.start(total ?? 0, done, { title, bytes: format(done), note: "" });
    }
    if (total !== null) bar.setTotal(total);
    bar.update(done, { bytes: format(done), note: retry ? `trying again: ${retry}` : "" });
  };
  return { onProgress, stop };
}

function lines(): DataProgressView {
  let title = "";
  let nextShare = 0;
  const onProgress = (progress: DataProgress) => {
    const { stage, done, total, retry } = progress;
    if (title !== titleOf(progress)) {
      title = titleOf(progress);
      nextShare = 0.1;
      console.error(total === null ? title : `${title} (${format(total)})`);
    }
    if (retry) console.error(`${title}: broken off at ${format(done)} (${retry}), trying again`);
    // Only the network takes long enough for more than one line.
    if (stage !== "download" || total === null || done / total < nextShare) return;
    console.error(`${title}: ${Math.floor((100 * done) / total)}%`);
    nextShare = (Math.floor((10 * done) / total) + 1) / 10;
  };
  return { onProgress, stop: () => {} };
}
