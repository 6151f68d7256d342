/** What is new in a file of JSON lines that another process writes. */

/** The most bytes that are read at a time; what is longer comes with the next reads. */
const mostBytes = 1 << 22;

/** New lines of a file. */
export interface NewLines {
  /** Whether they stand in place of all that came before: the file was replaced or cut. */
  isNew: boolean;
  lines: Record<string, unknown>[];
}

/**
 * Reads what has been added to a file since the last time. Half a last line waits until it is whole,
 * and what is no JSON object is left out and counted.
 */
export class Tail {
  private offset = 0;
  private rest = "";
  private inode: number | null = null;
  private changed = 0;
  private decoder = new TextDecoder();
  /** Lines that are no JSON objects. */
  damaged = 0;

  constructor(private readonly path: string) {}

  /** When the file last changed, in milliseconds; null where there is none. */
  modified: number | null = null;

  /** What is new; null for nothing. */
  async read(): Promise<NewLines | null> {
    let info: Deno.FileInfo;
    try {
      info = await Deno.stat(this.path);
    } catch {
      this.modified = null;
      return this.forget() ? { isNew: true, lines: [] } : null;
    }
    // A device or a pipe would be read without end.
    if (!info.isFile) return null;
    const modified = info.mtime?.getTime() ?? 0;
    this.modified = modified;
    if (info.size === this.offset && info.ino === this.inode && modified === this.changed) {
      return null;
    }
    // A run that goes on writes lines anew: those it does again are cut off first.
    const isNew = info.ino !== this.inode || info.size <= this.offset;
    if (isNew) this.forget();
    this.inode = info.ino;
    const bytes = await this.bytesFrom(this.offset, Math.min(mostBytes, info.size - this.offset));
    this.offset += bytes.length;
    this.changed = this.offset >= info.size ? modified : -1;
    const texts = (this.rest + this.decoder.decode(bytes, { stream: true })).split("\n");
    this.rest = texts.pop()!;
    return { isNew, lines: texts.flatMap((text) => this.parsed(text)) };
  }

  private async bytesFrom(offset: number, count: number): Promise<Uint8Array> {
    using file = await Deno.open(this.path);
    await file.seek(offset, Deno.SeekMode.Start);
    const bytes = new Uint8Array(count);
    let done = 0;
    while (done < count) {
      const read = await file.read(bytes.subarray(done));
      if (read === null) break;
      done += read;
    }
    return bytes.subarray(0, done);
  }

  private parsed(text: string): Record<string, unknown>[] {
    try {
      const value = JSON.parse(text);
      if (typeof value === "object" && value !== null && !Array.isArray(value)) return [value];
    } catch {
      // Counted below.
    }
    this.damaged++;
    return [];
  }

  /** Begins anew; whether there was anything. */
  private forget(): boolean {
    const had = this.inode !== null;
    [this.offset, this.rest, this.inode, this.damaged] = [0, "", null, 0];
    this.decoder = new TextDecoder();
    return had;
  }
}
