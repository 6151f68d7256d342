/**
 * Ctrl-C and SIGTERM while the thread that trains may be inside one call for seconds: a worker
 * listens (signal_worker.ts), says at once that the signal has come, and tells this thread, which
 * ends the run when it next looks. A second signal ends the process.
 */

/** What a worker is told. */
export interface SignalOrders {
  signals: Deno.Signal[];
  /** Where the answer goes: standard error where standard output is for a program. */
  toStderr: boolean;
  /** Whether this process answers alone, as one of several, or leaves that to another. */
  answers: Answers;
}

/** How a process answers a signal. */
export type Answers = "alone" | "for all" | "not";

/** Milliseconds in which a signal counts as the first once more: `deno task` passes on its own. */
export const repeatedWithin = 500;

/** The wish that a run should end. */
export interface StopRequest extends Disposable {
  /** Aborts at the first signal. */
  readonly signal: AbortSignal;
  /** Exit code of a process that a signal has ended before its work was done; 0 without one. */
  readonly exitCode: number;
  /** Ends the run as a signal would, without one. */
  stop(): void;
}

/** Signals that ask for an end, and the exit codes that shells give them. */
const exitCodes: Partial<Record<Deno.Signal, number>> = Deno.build.os === "windows"
  // What Windows sends when a console is closed; it knows no SIGTERM.
  ? { SIGINT: 130, SIGBREAK: 149 }
  : { SIGINT: 130, SIGTERM: 143 };

/**
 * Listens from now on until it is disposed of.
 * @param toStderr answers on standard error
 */
export async function listenForStop(
  toStderr: boolean,
  answers: Answers = "alone",
): Promise<StopRequest> {
  const controller = new AbortController();
  let exitCode = 0;
  const worker = new Worker(new URL("./signal_worker.ts", import.meta.url), { type: "module" });
  const ready = Promise.withResolvers<void>();
  worker.addEventListener("message", ({ data }: MessageEvent<Deno.Signal | "ready">) => {
    if (data === "ready") return ready.resolve();
    exitCode = exitCodes[data]!;
    controller.abort();
  });
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    ready.reject(new Error(`No signals can be listened to: ${event.message}`));
  });
  const signals = Object.keys(exitCodes) as Deno.Signal[];
  const orders: SignalOrders = { signals, toStderr, answers };
  worker.postMessage(orders);
  await ready.promise;
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    stop: () => controller.abort(),
    [Symbol.dispose]: () => worker.terminate(),
  };
}
