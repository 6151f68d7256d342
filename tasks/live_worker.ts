/** The worker of train: the live page, which so takes no time of the thread that trains. */
import { UserError } from "../lib/errors.ts";
import { ownHost, serveLive } from "./live_server.ts";

/** What the worker is told. */
export interface LiveOrders {
  runs: string[];
  port: number;
}

/** What it answers. */
export type LiveAnswer = { url: string } | { error: string; isUser: boolean };

const training = globalThis as unknown as Worker;

training.onmessage = ({ data: { runs, port } }: MessageEvent<LiveOrders>) => {
  let answer: LiveAnswer;
  try {
    answer = { url: serveLive(runs, ownHost, port).url };
  } catch (error) {
    answer = { error: (error as Error).message, isUser: error instanceof UserError };
  }
  training.postMessage(answer);
};
