/** Records read from shards when they are wanted, for data that is larger than memory. */
import { UserError } from "../../errors.ts";
import type { RecordStream, StreamedImages } from "../dataset.ts";
import type { RecordAnswer, RecordPlaces, RecordRequest } from "./record_worker.ts";
import { readRecords, type Shard } from "./shard.ts";

/** Where each picture's record lies. */
export interface RecordIndex {
  shards: Shard[];
  /** Of each picture, the number of its shard; -1 where it is broken. */
  shardOf: Int32Array;
  /** Of each picture, its first byte in the shard. */
  offsetOf: Float64Array;
  /** Bytes of a record. */
  record: number;
}

/** The places of all records. */
export function recordIndex(shards: Shard[], size: number): RecordIndex {
  const record = size * size * 3;
  const count = shards.reduce((sum, { labels }) => sum + labels.length, 0);
  const shardOf = new Int32Array(count).fill(-1);
  const offsetOf = new Float64Array(count);
  for (const [number, { first, labels, broken, offset }] of shards.entries()) {
    const isBroken = new Set(broken.map(([at]) => at));
    let row = 0;
    for (let at = 0; at < labels.length; at++) {
      if (isBroken.has(at)) continue;
      shardOf[first + at] = number;
      offsetOf[first + at] = offset + row++ * record;
    }
  }
  return { shards, shardOf, offsetOf, record };
}

/**
 * The images of a split that stay in their shards. They are counted now, for the statistics.
 * @param indices the split's pictures, in its order
 * @param limit how many of them, from the first on, are counted
 */
export async function streamed(
  index: RecordIndex,
  indices: Int32Array,
  limit: number,
): Promise<StreamedImages> {
  const wanted = new Uint8Array(index.shardOf.length);
  const counted = Math.min(limit, indices.length);
  for (const each of indices.subarray(0, counted)) wanted[each] = 1;
  const histogram = new Float64Array(3 * 256);
  for (const shard of index.shards) {
    await readRecords(shard, (each, pixels) => {
      if (!wanted[each]) return;
      for (let i = 0; i < pixels.length; i += 3) {
        histogram[pixels[i]!]!++;
        histogram[256 + pixels[i + 1]!]!++;
        histogram[512 + pixels[i + 2]!]!++;
      }
    });
  }
  return { histogram, counted, open: () => new ShardStream(index, indices) };
}

class ShardStream implements RecordStream {
  private readonly worker = new Worker(new URL("./record_worker.ts", import.meta.url), {
    type: "module",
  });
  private readonly waiting = new Map<
    number,
    { resolve: (words: Int32Array<ArrayBuffer>) => void; reject: (error: Error) => void }
  >();
  private next = 0;

  constructor(private readonly index: RecordIndex, private readonly indices: Int32Array) {
    const { worker, waiting } = this;
    const paths = index.shards.map(({ path }) => path);
    worker.postMessage({ paths, record: index.record } satisfies RecordPlaces);
    worker.onmessage = ({ data }: MessageEvent<RecordAnswer>) => {
      const { resolve, reject } = waiting.get(data.id)!;
      waiting.delete(data.id);
      if ("words" in data) resolve(data.words);
      else {
        reject(
          new UserError(
            `Cannot read ${data.shard} (${data.failed}); start again, which makes it anew.`,
          ),
        );
      }
    };
    worker.onerror = (event) => {
      event.preventDefault();
      const error = new Error(`The worker that reads records ended: ${event.message}`);
      for (const { reject } of waiting.values()) reject(error);
      waiting.clear();
    };
  }

  read(indices: Int32Array): Promise<Int32Array<ArrayBuffer>> {
    const { index: { shardOf, offsetOf }, worker, waiting } = this;
    const pictures = indices.map((each) => this.indices[each]!);
    const shards = pictures.map((picture) => shardOf[picture]!);
    const offsets = Float64Array.from(pictures, (picture) => offsetOf[picture]!);
    const id = this.next++;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      worker.postMessage({ id, shards, offsets } satisfies RecordRequest);
    });
  }

  [Symbol.dispose](): void {
    this.worker.terminate();
  }
}
