/**
 * All processors for the wasm backend: its tensors lie in shared memory (shared_heap.ts), on which
 * the kernels of `assembly/` work four floats at a time, on the caller's thread and on workers.
 *
 * A kernel's work is divided into tasks that write to different places, in a way that depends on
 * sizes alone, and a sum belongs to one task; so the bytes are the same for any number of workers.
 * Threads take the next task from a counter in shared memory until none is left; the caller works
 * as well, and returns when all tasks are done, as from any other kernel. A thread that finds no
 * task looks for a few microseconds more, since kernels follow one another closely, and then
 * sleeps until it is woken.
 */
import type { WasmInternals } from "../backend/tfjs_internals.ts";
import { type TensorInfo, tf } from "../tfjs.ts";
import { compiled } from "./compiled.ts";

/** What a kernel is told: a number, the address of a tensor, or the words of a description. */
export type Argument = number | TensorInfo | Int32Array;

/** How a kernel's work is divided. */
export interface Work {
  tasks: number;
  /** Bytes that a task needs for itself. */
  scratch?: number;
  /** Rough number of elementary operations of all tasks: small work is not worth waking others. */
  cost: number;
}

/** Words at the start of the shared description of the work, and where its parts lie. */
const words = {
  /** Tasks that nobody has taken yet; the one store that begins the work. */
  remaining: 0,
  tasks: 1,
  done: 2,
  kernel: 3,
  scratch: 4,
  scratchBytes: 5,
  /** Counts the works for which workers were woken. */
  sequence: 6,
  failed: 7,
  /** Workers that have begun to look for tasks. */
  started: 8,
  argumentCount: 9,
  arguments: 10,
  descriptions: 32,
  end: 128,
} as const;

/** Turns of a loop in which a thread without a task looks for one before it sleeps. */
const SPINS = 4000;
/** Operations below which the caller works alone: waking a thread takes some 50 microseconds. */
const ALONE = 200_000;
/** More threads would find no task in most kernels. */
const MOST_WORKERS = 31;
/** Bytes that a task has at least, for constants. */
const LEAST_SCRATCH = 256;
/** Bytes of a line of the cache, which two threads should not share. */
const LINE = 64;

/** The program of a worker; written as text, so that it needs no file and no permission. */
const workerSource = `
import { workerData } from "node:worker_threads";
const { module, memory, start, kernels, own, w } = workerData;
const instance = new WebAssembly.Instance(new WebAssembly.Module(module), { env: { memory } });
const run = kernels.map((name) => instance.exports[name]);
const words = new Int32Array(memory.buffer, start, w.end);
Atomics.add(words, w.started, 1);
for (;;) {
  const left = Atomics.sub(words, w.remaining, 1);
  if (left > 0) {
    const tasks = words[w.tasks];
    const first = w.arguments;
    try {
      run[words[w.kernel]](
        tasks - left,
        words[w.scratch] + own * words[w.scratchBytes],
        ...words.subarray(first, first + words[w.argumentCount]),
      );
    } catch {
      Atomics.store(words, w.failed, 1);
    }
    if (Atomics.add(words, w.done, 1) + 1 === tasks) Atomics.notify(words, w.done);
    continue;
  }
  for (let i = 0; i < ${SPINS} && Atomics.load(words, w.remaining) <= 0; i++);
  const sequence = Atomics.load(words, w.sequence);
  if (Atomics.load(words, w.remaining) <= 0) Atomics.wait(words, w.sequence, sequence);
}
`;

type Kernel = (...words: number[]) => void;

/** Kernels on all processors, for one wasm backend. */
export class Pool {
  /** Threads besides the caller's. */
  readonly workers: number;
  /** What tells apart processors that round otherwise. */
  readonly description: string;
  readonly #backend: WasmInternals;
  readonly #kernels: Record<string, Kernel>;
  readonly #names: string[];
  readonly #start: number;
  readonly #words: Int32Array;
  readonly #threads: { terminate(): Promise<number> }[] = [];
  #scratch: TensorInfo | null = null;
  #scratchBytes = 0;

  constructor(backend: WasmInternals, workers: number) {
    this.#backend = backend;
    this.workers = workers;
    const memory = backend.wasm.asm.memory;
    const module = compiled();
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module), {
      env: { memory },
    });
    this.#kernels = instance.exports as unknown as Record<string, Kernel>;
    this.#names = Object.keys(this.#kernels);
    this.#start = this.#allocate(4 * words.end);
    this.#words = new Int32Array(memory.buffer, this.#start, words.end);
    this.#words.fill(0);
    // Not imported, which would end a browser's bundle; Deno's own Worker keeps a program alive.
    const { Worker } = process.getBuiltinModule("node:worker_threads");
    for (let own = 1; own <= this.workers; own++) {
      const url = new URL(`data:text/javascript,${encodeURIComponent(workerSource)}`);
      const workerData = {
        module,
        memory,
        start: this.#start,
        kernels: this.#names,
        own,
      };
      const worker = new Worker(url, { workerData: { ...workerData, w: words } });
      worker.unref();
      this.#threads.push(worker);
    }
    this.description = `SIMD${this.#fuses() ? ", fused" : ""}`;
  }

  /** Whether a multiply-add rounds once; WebAssembly leaves that to the processor. */
  #fuses(): boolean {
    const start = this.#reserve(0);
    const floats = new Float32Array(this.#backend.wasm.asm.memory.buffer, start, 4);
    const factor = 1 + 2 ** -12;
    floats.set([factor, factor, -(1 + 2 ** -11)]);
    this.#kernels.multiplyAdd!(0, start, start);
    return floats[3] !== 0;
  }

  /** Ends the workers. */
  close(): void {
    for (const thread of this.#threads) void thread.terminate();
    if (this.#scratch) tf.backend().disposeData(this.#scratch.dataId);
    this.#scratch = null;
  }

  /**
   * Runs a kernel of `assembly/index.ts` to its end.
   *
   * @param args What follows its task and scratch memory.
   */
  run(name: string, { tasks, scratch = 0, cost }: Work, args: Argument[]): void {
    const shared = this.#words;
    const start = this.#reserve(scratch);
    let description: number = words.descriptions;
    const values = args.map((argument) => {
      if (typeof argument === "number") return argument;
      if (!(argument instanceof Int32Array)) return this.addressOf(argument);
      const at = description;
      shared.set(argument, at);
      description += argument.length;
      return this.#start + 4 * at;
    });
    const kernel = this.#kernels[name]!;
    if (tasks < 2 || this.workers === 0 || cost < ALONE) {
      for (let task = 0; task < tasks; task++) kernel(task, start, ...values);
      return;
    }
    shared[words.tasks] = tasks;
    shared[words.kernel] = this.#names.indexOf(name);
    shared[words.scratch] = start;
    shared[words.scratchBytes] = this.#scratchBytes;
    shared[words.argumentCount] = values.length;
    shared.set(values, words.arguments);
    Atomics.store(shared, words.done, 0);
    // Last: whoever takes a task from here on finds all of the above.
    Atomics.store(shared, words.remaining, tasks);
    Atomics.add(shared, words.sequence, 1);
    Atomics.notify(shared, words.sequence, Math.min(this.workers, tasks - 1));
    for (let left; (left = Atomics.sub(shared, words.remaining, 1)) > 0;) {
      kernel(tasks - left, start, ...values);
      Atomics.add(shared, words.done, 1);
    }
    for (let i = 0, done; (done = Atomics.load(shared, words.done)) < tasks; i++) {
      if (i > SPINS) Atomics.wait(shared, words.done, done);
    }
    if (Atomics.load(shared, words.failed)) throw new Error(`A thread failed in ${name}.`);
  }

  /** Workers that are there already; they come while the caller works alone. */
  get started(): number {
    return Atomics.load(this.#words, words.started);
  }

  /** Where a tensor's elements lie; 0 for one that is not there. */
  addressOf(tensor: TensorInfo | undefined): number {
    return tensor ? this.#backend.dataIdMap.get(tensor.dataId).memoryOffset : 0;
  }

  /** The first thread's scratch memory; those of the others follow. */
  #reserve(bytes: number): number {
    bytes = Math.max(bytes, LEAST_SCRATCH);
    if (bytes > this.#scratchBytes) {
      if (this.#scratch) tf.backend().disposeData(this.#scratch.dataId);
      this.#scratchBytes = Math.ceil(bytes / LINE) * LINE;
      const size = this.#scratchBytes * (this.workers + 1) + LINE;
      this.#scratch = this.#backend.makeOutput([size / 4], "float32");
    }
    return alignedUp(this.addressOf(this.#scratch!));
  }

  #allocate(bytes: number): number {
    return alignedUp(this.addressOf(this.#backend.makeOutput([(bytes + LINE) / 4], "int32")));
  }
}

const alignedUp = (address: number) => Math.ceil(address / LINE) * LINE;

const pools = new WeakMap<object, Pool>();

/**
 * Opens the current backend's pool, which must be wasm; one that is open with as many threads stays.
 * Where the heap is not shared or the processor lacks what the kernels need, there is none.
 *
 * @param threads How many compute, the caller's among them.
 */
export function openPool(threads: number): void {
  const backend: object = tf.backend();
  const workers = Math.max(0, Math.min(threads - 1, MOST_WORKERS));
  if (pools.get(backend)?.workers === workers) return;
  // Not by its class, which a page does not know unless it is isolated from others.
  const heap = (backend as WasmInternals).wasm.asm.memory.buffer as ArrayBufferLike;
  if (heap[Symbol.toStringTag] !== "SharedArrayBuffer") return;
  if (!WebAssembly.validate(compiled())) return;
  closePool();
  pools.set(backend, new Pool(backend as WasmInternals, workers));
}

/** Gives the current backend's pool up: kernels take their forms for one thread from now on. */
export function closePool(): void {
  pools.get(tf.backend())?.close();
  pools.delete(tf.backend());
}

/** The current backend's pool; undefined on other backends than wasm, and where it was not opened. */
export const currentPool = (): Pool | undefined => pools.get(tf.backend());
