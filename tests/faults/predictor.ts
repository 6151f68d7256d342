/**
 * `predict` in a process that prints, as its last line on standard error, the peak of its memory in
 * bytes; 0 where the system does not tell. Arguments: those of `predict`.
 */
import { peakBytes } from "../peak_memory.ts";

if (import.meta.main) {
  // The task ends by Deno.exit, which tells of itself so.
  globalThis.addEventListener("unload", () => console.error(peakBytes()));
  await import("../../tasks/predict.ts");
}
