/** Decoding on several processors. */
import { UserError } from "../../errors.ts";
import type { Picture, StoredForm } from "../picture_set.ts";
import type { DecodeAnswer, Decoded, DecodeRequest } from "./decode_worker.ts";

/** A worker started, doing one request at a time. */
class Decoder {
  private readonly worker = new Worker(new URL("./decode_worker.ts", import.meta.url), {
    type: "module",
  });

  constructor(private readonly form: StoredForm) {}

  decode(pictures: Picture[]): Promise<Decoded[]> {
    const { worker, form } = this;
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<DecodeAnswer>) => {
        if ("decoded" in data) return resolve(data.decoded);
        const { message, isUsers, stack } = data.failed;
        const error = isUsers ? new UserError(message) : new Error(message);
        if (!isUsers) error.stack = stack;
        reject(error);
      };
      worker.onerror = (event) => {
        // Or it would end this process too.
        event.preventDefault();
        reject(new Error(`A worker that decodes pictures ended: ${event.message}`));
      };
      const buffers = pictures.flatMap(({ bytes }) => bytes ? [bytes.buffer] : []);
      worker.postMessage({ pictures, form } satisfies DecodeRequest, buffers);
    });
  }

  end(): void {
    this.worker.terminate();
  }
}

/** Each holds a decoder of its own: more take more memory than they save time. */
const mostWorkers = 16;

/** Pictures that are sent to a worker at once, so that small ones do not wait for messages. */
export const picturesAtOnce = 16;

/** A part of the work: pictures of one shard. */
export interface DecodeJob<T> {
  about: T;
  pictures: Picture[];
}

/**
 * Decodes all jobs; each worker takes the next as soon as it is free.
 * @param workers how many; as many as there are processors by default
 * @param onDone awaited before the worker that did the job takes another
 * @throws what the first failure threw, when the workers have ended
 */
export async function decodeAll<T>(
  jobs: AsyncIterator<DecodeJob<T>>,
  form: StoredForm,
  { workers = navigator.hardwareConcurrency, onDone }: {
    workers?: number;
    onDone: (about: T, decoded: Decoded[]) => Promise<void>;
  },
): Promise<void> {
  const started: Decoder[] = [];
  let isOver = false;
  const work = async () => {
    let decoder: Decoder | undefined;
    while (!isOver) {
      const { value, done } = await jobs.next();
      if (done || isOver) break;
      if (!decoder) started.push(decoder = new Decoder(form));
      await onDone(value.about, await decoder.decode(value.pictures));
    }
  };
  const count = Math.max(1, Math.min(workers, mostWorkers));
  try {
    await Promise.all(Array.from({ length: count }, () =>
      work().catch((error) => {
        isOver = true;
        throw error;
      })));
  } finally {
    for (const decoder of started) decoder.end();
    await jobs.return?.();
  }
}
