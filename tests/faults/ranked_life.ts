/** A run of ranks under a launcher, from its start until it is killed or complete. */
import { TextLineStream } from "@std/streams/text-line-stream";
import { type Launcher, spawn } from "../distributed/mpirun.ts";
import { trainMpi } from "../distributed/train_mpi.ts";

/** Milliseconds between two looks at what processes there are. */
const LOOK = 50;

/** Waits so many milliseconds. */
export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** What a program prints; a process that it should find may be gone, which is no error. */
async function printed(program: string, args: string[]): Promise<{ text: string; found: boolean }> {
  const { success, stdout } = await new Deno.Command(program, { args, stderr: "null" }).output();
  return { text: new TextDecoder().decode(stdout), found: success };
}

/** Process ids of the ranks of a run, lowest first. */
async function ranksOf(path: string): Promise<number[]> {
  // Deno gives /proc, and processes that it did not start, to programs with all permissions alone.
  const { text } = await printed("pgrep", ["-af", "--", path]);
  return text.split("\n")
    // A launcher names the run on its command line, too.
    .flatMap((line) => /^(\d+) \S*\bdeno run /.exec(line)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** Kills a process; false where it has ended by itself. */
async function kill(pid: number): Promise<boolean> {
  return (await printed("bash", ["-c", `kill -KILL ${pid}`])).found;
}

/** Two ranks at work. */
export class RankedLife {
  /** Of the launcher; undefined until it has ended. */
  code?: number;
  /** What was printed as an error, when all have ended. */
  readonly errors: Promise<string>;
  private readonly child: Deno.ChildProcess;
  /** When the ranks were seen first, and when each line of rank 0 came. */
  private born = NaN;
  private readonly lines: number[] = [];
  private told = Promise.withResolvers<void>();

  /** @param path names the run, in `args`, which must have `--json` */
  constructor(launcher: Launcher, args: readonly string[], private readonly path: string) {
    this.child = spawn(launcher, [trainMpi(2, args)]);
    this.errors = new Response(this.child.stderr).text();
    void this.listen();
  }

  private async listen(): Promise<void> {
    const lines: ReadableStream<string> = this.child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      if (!line.startsWith("{")) continue;
      this.lines.push(performance.now());
      this.tell();
    }
    this.code = (await this.child.status).code;
    this.tell();
  }

  private tell(): void {
    this.told.resolve();
    this.told = Promise.withResolvers();
  }

  /** Process ids of both ranks, as soon as there are two; fewer if the run ends before. */
  async ranks(): Promise<number[]> {
    while (true) {
      const ranks = await ranksOf(this.path);
      if (ranks.length === 2 || this.code !== undefined) {
        this.born = performance.now();
        return ranks;
      }
      await delay(LOOK);
    }
  }

  /** Waits until training has begun and so many epochs are done; false if the run ends before. */
  async reach(epochs: number): Promise<boolean> {
    while (this.lines.length <= epochs && this.code === undefined) await this.told.promise;
    return this.lines.length > epochs;
  }

  /** Waits for its end, by itself. */
  async ended(): Promise<void> {
    while (this.code === undefined) await this.told.promise;
  }

  /** Milliseconds from the first sight of the ranks to the begin of training, and of an epoch after. */
  paceOf(epochs: number): Pace {
    const [begun, last] = [this.lines[0]!, this.lines[epochs]!];
    return { start: begun - this.born, epoch: (last - begun) / epochs };
  }

  /**
   * Kills a rank and waits until nothing of the run is left; after `patience` milliseconds it kills that.
   * @returns the milliseconds that it took; null where something had to be killed.
   */
  async kill(rank: number, patience: number): Promise<number | null> {
    const began = performance.now();
    await kill(rank);
    while (performance.now() - began < patience) {
      if (this.code !== undefined && (await ranksOf(this.path)).length === 0) {
        const milliseconds = performance.now() - began;
        await this.errors;
        return milliseconds;
      }
      await delay(LOOK);
    }
    for (const left of [this.child.pid, ...await ranksOf(this.path)]) await kill(left);
    await this.ended();
    await this.errors;
    return null;
  }
}

/** How fast a run is, in milliseconds. */
export interface Pace {
  start: number;
  epoch: number;
}
