/** The worker of signals.ts: it answers a signal at once, whatever the thread that trains does. */
import { type Answers, repeatedWithin, type SignalOrders } from "./signals.ts";

const training = globalThis as unknown as Worker;

training.onmessage = ({ data: { signals, toStderr, answers } }: MessageEvent<SignalOrders>) => {
  let hasCome = false;
  const listeners = signals.map((signal) => () => {
    if (hasCome) return;
    hasCome = true;
    training.postMessage(signal);
    if (answers !== "not") answer(textOf(signal, answers), toStderr);
    // Without a listener the next one does what it does to any process.
    setTimeout(() => {
      signals.forEach((name, i) => Deno.removeSignalListener(name, listeners[i]!));
    }, repeatedWithin);
  });
  signals.forEach((name, i) => Deno.addSignalListener(name, listeners[i]!));
  training.postMessage("ready");
};

function textOf(signal: Deno.Signal, answers: Answers): string {
  // A launcher says it so that a rank has died, and then the batch in hand is never done.
  if (answers === "for all") {
    return `Stopping all ranks, for ${signal} has come, as it does when one of them has died; what ` +
      `was saved stays, go on with --resume.\n`;
  }
  const second = signal === "SIGINT" ? "Ctrl-C again" : "a second signal";
  return `Stopping after this batch; ${second} ends at once, and what was saved stays.\n`;
}

function answer(text: string, toStderr: boolean): void {
  const stream = toStderr ? Deno.stderr : Deno.stdout;
  // The line of progress and the terminal's ^C stand where this goes.
  const start = stream.isTerminal() ? "\r\x1b[2K" : "";
  try {
    stream.writeSync(new TextEncoder().encode(start + text));
  } catch {
    // Nobody reads it; the run ends all the same.
  }
}
