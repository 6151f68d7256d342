/**
 * Gives the virtual buffers of a recording memory.
 *
 * Buffers whose lifetimes do not meet share memory, also when their sizes differ: largest first,
 * each takes the smallest shared buffer that is free all its life (Pisarchyk and Lee, "Efficient
 * Memory Management for Deep Neural Net Inference", 2020, section 4.3). Whole buffers and not parts
 * of one, since WebGPU forbids a dispatch to read one part of a buffer and write another.
 *
 * What is only read may lie in parts of one buffer: all inputs together, so that a replay writes
 * them at once, and all constants and uniform blocks together, equal ones once.
 */
import { writtenBindingsOf } from "../backend/compute.ts";

/** A buffer of a recording, before it has memory. To tfjs it looks like any other. */
export interface VirtualBuffer extends GPUBuffer {
  /** Position among the buffers of its recording. */
  readonly index: number;
  /** Index of the input whose values it holds. */
  input?: number;
  /** Bytes that come from JavaScript and are the same at every replay. */
  content?: Uint8Array;
  /** Belongs to a tensor that outlives the function. */
  survives: boolean;
  /** The operation that asked for it. */
  readonly op: string;
  /** Bytes that its values would have as float32, where they are f16. */
  f32Size?: number;
}

/** A binding of a dispatch: a {@linkcode VirtualBuffer} or a buffer from before. */
export interface Binding {
  binding: number;
  buffer: GPUBuffer;
  offset?: number;
  size?: number;
}

/** One thing that a recording asks of the device. */
export type Command =
  | {
    kind: "dispatch";
    op: string;
    pipeline: GPUComputePipeline;
    layout: GPUBindGroupLayout;
    bindings: Binding[];
    workgroups: [number, number, number];
  }
  | {
    kind: "copy";
    op: string;
    source: GPUBuffer;
    sourceOffset: number;
    target: GPUBuffer;
    targetOffset: number;
    size: number;
  };

/** Whether a buffer is one of a recording that has no memory yet. */
export function isVirtual(buffer: GPUBuffer): buffer is VirtualBuffer {
  return Object.hasOwn(buffer, "index");
}

/** A part of a buffer. */
export interface Place {
  buffer: GPUBuffer;
  offset: number;
  size: number;
}

/** A part of a block of several values. */
interface Slot {
  block: "inputs" | "constants";
  offset: number;
}

/** Places of everything, before any memory is asked for. */
export interface Plan {
  /**
   * By the virtual buffer's index: its slot, shared buffer or own buffer; null when it is unused.
   */
  homes: (Slot | { shared: number } | { own: number } | null)[];
  /** Sizes of shared buffers, in bytes. */
  shared: number[];
  /** Sizes of the buffers of tensors that outlive the function. */
  own: number[];
  /** Values to be copied, at the beginning of a replay, into a buffer that the function writes. */
  preloads: { index: number; slot: Slot }[];
  /** Offset of each input in the block of inputs, in bytes. */
  inputOffsets: number[];
  inputBytes: number;
  constants: { offset: number; content: Uint8Array }[];
  constantBytes: number;
  /** Bytes that buffers by lifetime would take if none shared memory. */
  unsharedBytes: number;
}

/** Bytes of all buffers of a plan. */
export function plannedBytes({ shared, own, inputBytes, constantBytes }: Plan): number {
  return [...shared, ...own, inputBytes, constantBytes].reduce((sum, size) => sum + size, 0);
}

interface Lifetime {
  first: number;
  last: number;
  isWritten: boolean;
}

/** Places the buffers; `alignment` is the device's for parts of buffers, in bytes. */
export function planMemory(
  buffers: readonly VirtualBuffer[],
  commands: readonly Command[],
  alignment: number,
): Plan {
  const lifetimes = lifetimesOf(buffers, commands);
  const inputs = new Block(alignment);
  const constants = new Block(alignment);
  const plan: Plan = {
    homes: buffers.map(() => null),
    shared: [],
    own: [],
    preloads: [],
    inputOffsets: [],
    inputBytes: 0,
    constants: constants.contents,
    constantBytes: 0,
    unsharedBytes: 0,
  };
  const floating: number[] = [];
  buffers.forEach((buffer, index) => {
    const life = lifetimes[index];
    let slot: Slot | undefined;
    if (buffer.input !== undefined) {
      slot = { block: "inputs", offset: inputs.add(buffer.size) };
      plan.inputOffsets[buffer.input] = slot.offset;
    }
    if (!life && !buffer.survives) return;
    if (buffer.content) {
      slot = { block: "constants", offset: constants.addContent(buffer.content) };
    }
    if (slot && !life?.isWritten && !buffer.survives) {
      plan.homes[index] = slot;
      return;
    }
    if (slot) {
      plan.preloads.push({ index, slot });
      if (life) life.first = -1;
    }
    if (buffer.survives) plan.homes[index] = { own: plan.own.push(buffer.size) - 1 };
    else floating.push(index);
  });
  shareMemory(plan, floating, buffers, lifetimes as Lifetime[]);
  plan.inputBytes = inputs.bytes;
  plan.constantBytes = constants.bytes;
  return plan;
}

function lifetimesOf(
  buffers: readonly VirtualBuffer[],
  commands: readonly Command[],
): (Lifetime | undefined)[] {
  const lifetimes: (Lifetime | undefined)[] = buffers.map(() => undefined);
  const use = (buffer: GPUBuffer, at: number, isWritten: boolean) => {
    if (!isVirtual(buffer)) return;
    const life = lifetimes[buffer.index] ??= { first: at, last: at, isWritten: false };
    life.last = at;
    life.isWritten ||= isWritten;
  };
  commands.forEach((command, at) => {
    if (command.kind === "copy") {
      use(command.source, at, false);
      use(command.target, at, true);
    } else {
      const { from, to } = writtenBindingsOf(command.layout);
      command.bindings.forEach(({ buffer }, i) => use(buffer, at, i >= from && i < to));
    }
  });
  return lifetimes;
}

function shareMemory(
  plan: Plan,
  floating: number[],
  buffers: readonly VirtualBuffer[],
  lifetimes: Lifetime[],
): void {
  const tenants: Lifetime[][] = [];
  for (const index of floating.sort((a, b) => buffers[b]!.size - buffers[a]!.size || a - b)) {
    const life = lifetimes[index]!;
    const isFree = (lives: Lifetime[]) =>
      lives.every(({ first, last }) => last < life.first || first > life.last);
    // Sizes fall, so the last that is free is the smallest.
    let home = tenants.findLastIndex(isFree);
    if (home < 0) {
      home = tenants.push([]) - 1;
      plan.shared.push(buffers[index]!.size);
    }
    tenants[home]!.push(life);
    plan.homes[index] = { shared: home };
    plan.unsharedBytes += buffers[index]!.size;
  }
}

/** Values side by side. */
class Block {
  bytes = 0;
  readonly contents: { offset: number; content: Uint8Array }[] = [];
  private readonly known = new Map<string, number>();

  constructor(private readonly alignment: number) {}

  add(size: number): number {
    const offset = this.bytes;
    this.bytes += Math.ceil(size / this.alignment) * this.alignment;
    return offset;
  }

  /** Equal contents have one place. */
  addContent(content: Uint8Array): number {
    const key = content.length <= 512 ? content.join() : null;
    const known = key === null ? undefined : this.known.get(key);
    if (known !== undefined) return known;
    const offset = this.add(content.length);
    this.contents.push({ offset, content });
    if (key !== null) this.known.set(key, offset);
    return offset;
  }
}

/** The memory of a capture. */
export class Memory {
  readonly inputs: GPUBuffer | null;
  private readonly constants: GPUBuffer | null;
  /** Buffers of intermediate results, the largest first. */
  private readonly shared: GPUBuffer[];
  private readonly own: GPUBuffer[];
  private readonly isLent: (buffer: GPUBuffer) => boolean;

  /**
   * @param lender memory of a capture that is never replayed at the same time: its buffers of
   * intermediate results are used where they are large enough
   * @throws {UserError} when a block is above the device's limit
   */
  constructor(
    device: GPUDevice,
    private readonly plan: Plan,
    private readonly buffers: readonly VirtualBuffer[],
    lender?: Memory,
  ) {
    const { STORAGE, UNIFORM, COPY_SRC, COPY_DST } = GPUBufferUsage;
    const make = (size: number, usage: number, label: string) =>
      device.createBuffer({ size, label, usage: usage | STORAGE | COPY_SRC | COPY_DST });
    const { inputBytes, constantBytes } = plan;
    this.inputs = inputBytes ? make(inputBytes, 0, "inputs of a capture") : null;
    this.constants = constantBytes ? make(constantBytes, UNIFORM, "constants of a capture") : null;
    if (this.constants) {
      const bytes = new Uint8Array(constantBytes);
      for (const { offset, content } of plan.constants) bytes.set(content, offset);
      device.queue.writeBuffer(this.constants, 0, bytes);
    }
    const lent = lender?.shared ?? [];
    this.isLent = (buffer) => lent.includes(buffer);
    this.shared = plan.shared.map((size, i) =>
      lent[i] && lent[i].size >= size ? lent[i] : make(size, 0, "shared buffer of a capture")
    );
    this.own = plan.own.map((size) => make(size, 0, "output of a capture"));
  }

  /** Place of a buffer of the recording, or of a part of it; other buffers stay what they are. */
  placeOf(buffer: GPUBuffer, offset = 0, size = buffer.size - offset): Place {
    if (!isVirtual(buffer)) return { buffer, offset, size };
    const home = this.plan.homes[buffer.index];
    if (!home) throw new Error("A buffer of the recording has no place.");
    if ("own" in home) return { buffer: this.own[home.own]!, offset, size };
    if ("shared" in home) return { buffer: this.shared[home.shared]!, offset, size };
    return { buffer: this.blockOf(home), offset: home.offset + offset, size };
  }

  /** The copies that begin a replay. */
  preloads(): { from: Place; to: Place }[] {
    return this.plan.preloads.map(({ index, slot }) => {
      const to = this.placeOf(this.buffers[index]!);
      return { from: { buffer: this.blockOf(slot), offset: slot.offset, size: to.size }, to };
    });
  }

  private blockOf({ block }: Slot): GPUBuffer {
    return (block === "inputs" ? this.inputs : this.constants)!;
  }

  /** Number of buffers of its own. */
  get count(): number {
    return this.all().length;
  }

  /** Bytes of all of them. */
  get bytes(): number {
    return this.all().reduce((sum, { size }) => sum + size, 0);
  }

  private all(): GPUBuffer[] {
    return [this.inputs, this.constants, ...this.shared, ...this.own].filter((buffer) =>
      buffer !== null && !this.isLent(buffer)
    ) as GPUBuffer[];
  }

  destroy(): void {
    for (const buffer of this.all()) buffer.destroy();
  }
}
