/**
 * Pictures decoded once, into shards from which every later run reads.
 *
 * A folder `NAME-KEY` holds the shards, the list of the pictures and that of the broken ones. The key
 * is a checksum of what the pictures are (path, bytes, time of change) and how they are read (size,
 * fit, version), so what has changed has another folder. Each shard is written at one stroke, and one
 * that is not whole is made again: whenever a process is killed, the next goes on where it was. Which
 * worker decodes what decides nothing: the bytes are those of one worker that was never interrupted.
 */
import { createHash } from "node:crypto";
import { UserError } from "../../errors.ts";
import { openInPlace, removeTemporaries, writeFileAtomic } from "../../files.ts";
import { ioError, shownPath } from "../../io_error.ts";
import type { Picture, PictureSet, StoredForm } from "../picture_set.ts";
import { decodeAll, type DecodeJob, picturesAtOnce } from "./decode_pool.ts";
import type { Decoded } from "./decode_worker.ts";
import {
  checkShard,
  picturesPerShard,
  type Shard,
  type ShardHeader,
  shardPath,
  shardVersion,
  writeShard,
} from "./shard.ts";

/** How far the preparing is. */
export interface PrepareProgress {
  /** Pictures decoded, those of earlier starts too. */
  done: number;
  /** Pictures in all. */
  total: number;
  /** Pictures a second since this start; 0 before the first. */
  perSecond: number;
  /** Estimated; null before the first picture. */
  secondsLeft: number | null;
}

/** Options of {@linkcode prepare}. */
export interface PrepareOptions {
  /** The folder that holds the folders of what is prepared; made if it is absent. */
  root: string;
  form: StoredForm;
  /** What becomes of pictures that cannot be read: `skip`, the default, or `stop`. */
  onBroken?: "skip" | "stop";
  /** How many decode at a time; as many as there are processors by default. Decides no byte. */
  workers?: number;
  /** Bytes of a shard's pixels; 8 MiB by default. What is prepared with others is prepared again. */
  shardBytes?: number;
  onProgress?: (progress: PrepareProgress) => void;
  /** Told, in a sentence each, what a person should know. */
  onNotice?: (text: string) => void;
}

/** Prepared pictures. */
export interface Prepared {
  folder: string;
  shards: Shard[];
  /** Why pictures could not be read, by their names. */
  broken: Map<string, string>;
}

/**
 * Decodes what is not decoded yet.
 * @throws {UserError} if a folder cannot be written to, the disk is full, or a picture is broken and
 * `onBroken` is `stop`; what is whole by then is kept.
 */
export async function prepare(set: PictureSet, options: PrepareOptions): Promise<Prepared> {
  const { root, form, onNotice } = options;
  const folder = `${root}/${set.shortName}-${keyOf(set, form)}`;
  try {
    await Deno.mkdir(folder, { recursive: true });
  } catch (error) {
    throw ioError(error, "write", folder);
  }
  using _ = await lock(folder, onNotice);
  await removeTemporaries(folder);
  const ranges = rangesOf(set, form.size, options.shardBytes);
  const found = await Promise.all(
    ranges.map((range, i) => checkShard(shardPath(folder, i), range)),
  );
  const shards: (Shard | undefined)[] = found.map((each) => "fault" in each ? undefined : each);
  for (const [i, each] of found.entries()) {
    if (!("fault" in each) || each.isAbsent) continue;
    onNotice?.(`${shardPath(folder, i)} ${each.fault}; its pictures are read again.`);
  }
  if (shards.includes(undefined)) {
    await writeFileAtomic(`${folder}/pictures.txt`, encoded(set.lines()));
    await fill(set, folder, ranges, shards, options);
  }
  const whole = shards as Shard[];
  const broken = new Map(whole.flatMap((shard) => shard.broken).map(([, ...named]) => named));
  if (broken.size > 0) {
    const [name, reason] = [...broken][0]!;
    if (options.onBroken === "stop") throw stopped(reason);
    const list = `${folder}/broken.txt`;
    await writeFileAtomic(list, encoded(lines(broken)));
    onNotice?.(
      `${broken.size} of ${totalOf(set)} pictures cannot be read and are left out, the first ` +
        `${shownPath(name)}; ${list} has each with its reason.`,
    );
  }
  return { folder, shards: whole, broken };
}

function stopped(reason: string): UserError {
  return new UserError(`${reason.replace(/\.$/, "")}; mend or remove it, or say --on-broken skip.`);
}

function totalOf({ counts }: PictureSet): number {
  return counts.train + (counts.validation ?? 0) + (counts.test ?? 0);
}

/** Twelve hexadecimal digits. */
function keyOf(set: PictureSet, form: StoredForm): string {
  const hash = createHash("sha256");
  const { size, fit, ...resize } = form;
  hash.update(JSON.stringify([shardVersion, size, fit, set.counts, set.classNames]));
  // Not where there is nothing, since folders of older versions are known without.
  if (Object.keys(resize).length > 0) hash.update(JSON.stringify(resize));
  for (const line of set.lines()) hash.update(`\n${line}`);
  return hash.digest("hex").slice(0, 12);
}

interface Range {
  first: number;
  size: number;
  count: number;
}

function rangesOf(set: PictureSet, size: number, shardBytes?: number): Range[] {
  const total = totalOf(set);
  const most = picturesPerShard(size, shardBytes);
  return Array.from({ length: Math.ceil(total / most) }, (_, i) => {
    return { first: i * most, size, count: Math.min(most, total - i * most) };
  });
}

/** A picture without its bytes, which have gone to the worker. */
type Named = Pick<Picture, "name" | "label">;

/** A shard while its pictures come in. */
class OpenShard {
  private readonly pixels: Uint8Array;
  private readonly isBroken: (string | undefined)[];
  private readonly labels: number[];
  private readonly names: string[];
  private left: number;

  constructor(private readonly range: Range, private readonly record: number) {
    this.pixels = new Uint8Array(range.count * record);
    this.isBroken = new Array(range.count);
    this.labels = new Array(range.count).fill(0);
    this.names = new Array(range.count).fill("");
    this.left = range.count;
  }

  /** @returns whether it has all its pictures now */
  put(at: number, pictures: readonly Named[], decoded: Decoded[]): boolean {
    for (const [i, each] of decoded.entries()) {
      this.labels[at + i] = pictures[i]!.label;
      this.names[at + i] = pictures[i]!.name;
      if ("pixels" in each) this.pixels.set(each.pixels, (at + i) * this.record);
      else this.isBroken[at + i] = each.broken;
    }
    return (this.left -= decoded.length) === 0;
  }

  async write(path: string): Promise<void> {
    const { range: { first, size, count }, record, labels, isBroken, pixels } = this;
    const broken: ShardHeader["broken"] = [];
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const reason = isBroken[i];
      if (reason !== undefined) broken.push([i, this.names[i]!, reason]);
      else pixels.copyWithin(kept++ * record, i * record, (i + 1) * record);
    }
    await writeShard(path, { first, size, labels, broken }, pixels.subarray(0, kept * record));
  }
}

/** Makes the shards that are missing. */
async function fill(
  set: PictureSet,
  folder: string,
  ranges: Range[],
  shards: (Shard | undefined)[],
  { form, workers, onBroken, onProgress }: PrepareOptions,
): Promise<void> {
  const total = totalOf(set);
  const missing = [...ranges.keys()].filter((i) => shards[i] === undefined);
  const before = total - missing.reduce((sum, i) => sum + ranges[i]!.count, 0);
  const record = form.size * form.size * 3;
  const open = new Map<number, OpenShard>();
  const began = performance.now();
  let done = 0;
  const report = () => {
    const seconds = (performance.now() - began) / 1000;
    const perSecond = done === 0 ? 0 : done / seconds;
    const secondsLeft = done === 0 ? null : (total - before - done) / perSecond;
    onProgress?.({ done: before + done, total, perSecond, secondsLeft });
  };

  interface Part {
    shard: number;
    at: number;
    named: Named[];
  }
  async function* jobs(): AsyncGenerator<DecodeJob<Part>> {
    for (const shard of missing) {
      const { first, count } = ranges[shard]!;
      open.set(shard, new OpenShard(ranges[shard]!, record));
      let pictures: Picture[] = [];
      let at = 0;
      const job = () => {
        const named = pictures.map(({ name, label }) => ({ name, label }));
        const about = { shard, at, named };
        at += pictures.length;
        return { about, pictures };
      };
      for await (const picture of set.read(first, first + count)) {
        pictures.push(picture);
        if (pictures.length < picturesAtOnce) continue;
        yield job();
        pictures = [];
      }
      if (pictures.length > 0) yield job();
      if (at !== count) throw new Error(`${set.name} gave ${at} pictures, not ${count}`);
    }
  }
  report();
  await decodeAll(jobs(), form, {
    workers,
    onDone: async ({ shard, at, named }, decoded) => {
      if (onBroken === "stop") {
        for (const each of decoded) if ("broken" in each) throw stopped(each.broken);
      }
      const part = open.get(shard)!;
      const isWhole = part.put(at, named, decoded);
      done += decoded.length;
      report();
      if (!isWhole) return;
      open.delete(shard);
      const path = shardPath(folder, shard);
      await part.write(path);
      const checked = await checkShard(path, ranges[shard]!);
      if ("fault" in checked) {
        throw new UserError(
          `${path} ${checked.fault} though it was written just now; look after the disk.`,
        );
      }
      shards[shard] = checked;
    },
  });
}

function* lines(broken: Map<string, string>): Generator<string> {
  for (const [name, reason] of broken) yield `${JSON.stringify(name)}\t${reason}`;
}

function* encoded(lines: Iterable<string>): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  for (const line of lines) yield encoder.encode(`${line}\n`);
}

/** Keeps two processes from preparing the same; what the system locks, it frees however we end. */
async function lock(folder: string, onNotice?: (text: string) => void): Promise<Disposable> {
  const file = await openInPlace(`${folder}/lock`);
  try {
    if (!await file.tryLock(true)) {
      onNotice?.(`Another process prepares ${folder}; waiting for it.`);
      await file.lock(true);
    }
  } catch (error) {
    // Some network disks have no locks. Two would then do the same work, and write the same bytes.
    if (!(error instanceof Error)) throw error;
  }
  return file;
}
