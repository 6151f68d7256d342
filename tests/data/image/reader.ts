/**
 * Reads pictures one after the other in a process of its own and prints for each, as a line of JSON,
 * a {@linkcode Reading}. Arguments: their paths.
 */
import process from "node:process";
import { readImageFile } from "../../../lib/data/image/read.ts";
import { resizeImage } from "../../../lib/data/image/resize.ts";
import { peakBytes } from "../../peak_memory.ts";

/** How it went. */
export interface Reading {
  path: string;
  /** `[width, height]` in pixels, or the error's message. */
  result: [width: number, height: number] | string;
  /** Of the processors, for reading it and resizing it to 224 pixels; others may compute beside. */
  ms: number;
  /** Bytes, of the process up to here; 0 where the system does not tell. */
  peak: number;
}

if (import.meta.main) {
  for (const path of Deno.args) {
    const start = process.cpuUsage();
    let result: Reading["result"];
    try {
      const image = await readImageFile(path);
      resizeImage(image, 224);
      result = [image.width, image.height];
    } catch (error) {
      result = (error as Error).message;
    }
    const { user, system } = process.cpuUsage(start);
    const reading: Reading = { path, result, ms: (user + system) / 1e3, peak: peakBytes() };
    console.log(JSON.stringify(reading));
  }
}
