/**
 * A process whose main thread is busy in one call after another, as a training step is: it listens
 * for signals as `train` does and ends by the code of the one that has come.
 */
import { listenForStop } from "../../tasks/signals.ts";

/** Milliseconds of one call, which nothing can interrupt. */
export const busyMs = 4000;

if (import.meta.main) {
  using stop = await listenForStop(Deno.args.includes("--json"));
  console.log("ready");
  while (!stop.signal.aborted) {
    const end = performance.now() + busyMs;
    while (performance.now() < end);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  console.log("ended well");
  Deno.exitCode = stop.exitCode;
}
