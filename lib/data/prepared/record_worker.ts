/** A worker that reads records from shards, so that reading goes on while a step holds JavaScript. */

/** Where records lie; sent once. */
export interface RecordPlaces {
  paths: string[];
  /** Bytes of a record. */
  record: number;
}

/** Which records to read, each by its shard and its first byte in it. */
export interface RecordRequest {
  id: number;
  shards: Int32Array;
  offsets: Float64Array;
}

/** Records one after the other, each filled up to whole words, or why they cannot be read. */
export type RecordAnswer =
  & { id: number }
  & (
    | { words: Int32Array<ArrayBuffer> }
    | { failed: string; shard: string }
  );

interface Scope {
  onmessage: ((event: MessageEvent<RecordPlaces | RecordRequest>) => void) | null;
  postMessage(answer: RecordAnswer, transfer?: Transferable[]): void;
}

/** Systems let a process have a thousand files open, or fewer. */
const mostOpen = 200;

// Types of a window know no worker.
const scope = self as unknown as Scope;
let places: RecordPlaces = { paths: [], record: 0 };
/** In the order of their last use. */
const open = new Map<number, Deno.FsFile>();

function fileOf(shard: number): Deno.FsFile {
  let file = open.get(shard);
  if (file) open.delete(shard);
  else {
    file = Deno.openSync(places.paths[shard]!);
    if (open.size === mostOpen) {
      const [oldest, old] = open.entries().next().value!;
      open.delete(oldest);
      old.close();
    }
  }
  open.set(shard, file);
  return file;
}

function read({ id, shards, offsets }: RecordRequest): RecordAnswer {
  const { record, paths } = places;
  const stride = Math.ceil(record / 4) * 4;
  const bytes = new Uint8Array(shards.length * stride);
  // In the order in which they lie, which disks like.
  const order = [...shards.keys()].sort((a, b) =>
    shards[a]! - shards[b]! || offsets[a]! - offsets[b]!
  );
  for (const i of order) {
    try {
      const file = fileOf(shards[i]!);
      file.seekSync(offsets[i]!, Deno.SeekMode.Start);
      const place = bytes.subarray(i * stride, i * stride + record);
      for (let done = 0; done < record;) {
        const count = file.readSync(place.subarray(done));
        if (count === null) throw new Error("it ends too early");
        done += count;
      }
    } catch (error) {
      return { id, failed: (error as Error).message, shard: paths[shards[i]!]! };
    }
  }
  return { id, words: new Int32Array(bytes.buffer) };
}

scope.onmessage = ({ data }) => {
  if ("paths" in data) {
    places = data;
    return;
  }
  const answer = read(data);
  scope.postMessage(answer, "words" in answer ? [answer.words.buffer] : []);
};
