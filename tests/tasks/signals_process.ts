/** A process whose only thread is busy, as within a call of WebGPU; see signals_test.ts. */
import { listenForStop } from "../../tasks/signals.ts";

const [seconds, stream] = Deno.args;
{
  using stop = await listenForStop(stream === "stderr");
  const say = (text: string) => Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
  say("busy");
  const end = performance.now() + Number(seconds) * 1000;
  while (performance.now() < end);
  // Where the training loop looks, batch for batch: a message may come a turn after a timer.
  for (let look = 0; look < 10 && !stop.signal.aborted; look++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  say(`aborted ${stop.signal.aborted}, code ${stop.exitCode}`);
  Deno.exitCode = stop.exitCode;
}
