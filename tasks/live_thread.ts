/** The live page beside a training, in a thread of its own. */
import { UserError } from "../lib/errors.ts";
import type { LiveAnswer, LiveOrders } from "./live_worker.ts";

/**
 * Serves the page of a run until it is disposed of.
 * @throws {UserError} if the port cannot be had.
 */
export async function serveBeside(orders: LiveOrders): Promise<{ url: string } & Disposable> {
  const worker = new Worker(new URL("./live_worker.ts", import.meta.url), { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<LiveAnswer>();
  worker.addEventListener("message", ({ data }: MessageEvent<LiveAnswer>) => resolve(data));
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    reject(new Error(`The live page cannot be served: ${event.message}`));
  });
  worker.postMessage(orders);
  const answer = await promise;
  if ("url" in answer) return { ...answer, [Symbol.dispose]: () => worker.terminate() };
  worker.terminate();
  throw answer.isUser ? new UserError(answer.error) : new Error(answer.error);
}
