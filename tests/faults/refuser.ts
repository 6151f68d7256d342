/**
 * Reads hostile files one after the other in a process of its own and prints for each, as a line of
 * JSON, how it was refused, the milliseconds and the peak of the process's memory meanwhile.
 * Arguments: files of {@linkcode Task}s, one JSON array.
 */
import { readSafetensorsFile } from "../../lib/checkpoint/safetensors.ts";
import { openRunFolder } from "../../lib/checkpoint/run_folder.ts";
import { readHistory } from "../../lib/checkpoint/history.ts";
import { loadState, loadWeights } from "../../lib/checkpoint/state.ts";
import { unpack } from "../../lib/data/archive.ts";
import { startMagick } from "../../lib/data/image/magick.ts";
import { readImageFile } from "../../lib/data/image/read.ts";
import { fileHandler } from "../../lib/export/file_handler.ts";
import { loadPlainWeights } from "../../lib/export/portable_model.ts";
import type { Reader } from "./hostile_files.ts";
import { peakBytes } from "../peak_memory.ts";

/** A file to be refused, and a folder to write to. */
export interface Task {
  name: string;
  reader: Reader;
  path: string;
  scratch: string;
}

/** How it went. */
export interface Refusal {
  name: string;
  /** Name and message of the error; null if there was none. */
  error: [name: string, message: string] | null;
  ms: number;
  /** Bytes; 0 where the system does not tell. */
  peak: number;
}

const readers: Record<Reader, (task: Task) => Promise<unknown>> = {
  safetensors: ({ path }) => readSafetensorsFile(path),
  state: ({ path }) => loadState(path),
  weights: ({ path }) => loadWeights(path),
  plain: ({ path }) => loadPlainWeights(path),
  image: ({ path }) => readImageFile(path),
  archive: ({ path, scratch }) =>
    unpack(path, { files: ["a.bin"], parent: scratch, maxBytes: 50_000_000 }),
  run: ({ path }) => openRunFolder(path),
  history: ({ path }) => readHistory(path),
  layers: ({ path }) => fileHandler(path).load!(),
};

/** Begins a new count of the peak; Linux alone has it. */
function resetPeak(): void {
  (globalThis as { gc?: () => void }).gc?.();
  if (Deno.build.os === "linux") Deno.writeTextFileSync("/proc/self/clear_refs", "5");
}

if (import.meta.main) {
  for (const task of JSON.parse(Deno.readTextFileSync(Deno.args[0]!)) as Task[]) {
    // Counted here are files, not the start of a decoder of 15 MB.
    if (task.reader === "image") await startMagick();
    resetPeak();
    const start = performance.now();
    const error = await readers[task.reader](task).then(() => null, (error: Error) => error);
    const ms = performance.now() - start;
    const shown: Refusal["error"] = error && [error.name, error.message];
    console.log(JSON.stringify({ name: task.name, error: shown, ms, peak: peakBytes() }));
  }
}
