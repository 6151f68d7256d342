/**
 * The few calls of MPI that training needs, by `Deno.dlopen`.
 *
 * They are synchronous: on the thread pool (`nonblocking`) each would take milliseconds more, and a
 * rank has nothing to do while it waits.
 */
import { UserError } from "../errors.ts";
import type { Ranks } from "./ranks.ts";
import { type HandleName, handleNames, type Kind, kinds } from "./libraries.ts";

/** MPI_THREAD_FUNNELED: only the thread that began calls, whatever threads Deno has beside it. */
const FUNNELED = 1;

/** Bytes for the longest text that a library hands out (MPICH's version; 8192 in its `mpi.h`). */
const TEXT_BYTES = 2 ** 14;

/** Most elements of one call, whose count is an int32. */
const MOST = 2 ** 30;

/**
 * Handles are passed as machine words: an integer handle fills the low half of the register that a
 * pointer would.
 */
const symbols = {
  MPI_Get_library_version: { parameters: ["buffer", "buffer"], result: "i32" },
  MPI_Init_thread: { parameters: ["usize", "usize", "i32", "buffer"], result: "i32" },
  MPI_Comm_rank: { parameters: ["usize", "buffer"], result: "i32" },
  MPI_Comm_size: { parameters: ["usize", "buffer"], result: "i32" },
  MPI_Allreduce: {
    parameters: ["usize", "buffer", "i32", "usize", "usize", "usize"],
    result: "i32",
  },
  MPI_Bcast: { parameters: ["buffer", "i32", "usize", "i32", "usize"], result: "i32" },
  MPI_Barrier: { parameters: ["usize"], result: "i32" },
  MPI_Get_processor_name: { parameters: ["buffer", "buffer"], result: "i32" },
  MPI_Abort: { parameters: ["usize", "i32"], result: "i32" },
  MPI_Finalize: { parameters: [], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Finds a symbol's address, which Deno does not tell; every library brings these along from C's. */
const linker = {
  dlopen: { parameters: ["buffer", "i32"], result: "pointer" },
  dlsym: { parameters: ["pointer", "buffer"], result: "usize" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Of `dlopen`; the library is loaded already. */
const RTLD_LAZY = 1;

type Calls = Deno.DynamicLibrary<typeof symbols>["symbols"];

/**
 * MPI, begun: this process among those that a launcher has started. It ends with
 * {@linkcode Mpi.finalize} or {@linkcode Mpi.abort}, and begins only once. Wants `--allow-ffi`.
 *
 * @example
 * ```ts ignore
 * // mpirun -n 2 deno run --allow-read --allow-ffi program.ts
 * const ranks = Mpi.begin("/usr/lib/x86_64-linux-gnu/libmpi.so.40");
 * const sums = new Float32Array(3).fill(ranks.rank);
 * ranks.sum(sums);
 * console.log(sums); // 1, 1, 1
 * ranks.finalize();
 * ```
 */
export class Mpi implements Ranks {
  /** Rank of this process, from 0. */
  readonly rank: number;
  /** Number of processes. */
  readonly size: number;
  /** The machine's name. */
  readonly processor: string;

  /** The library's file, and what it says of itself, on one line. */
  readonly library: { readonly path: string; readonly version: string };

  private constructor(
    private readonly calls: Calls,
    private readonly kind: Kind,
    private readonly handles: Record<HandleName, bigint>,
    library: { readonly path: string; readonly version: string },
  ) {
    this.library = library;
    const { world } = handles;
    const number = new Int32Array(1);
    check("MPI_Init_thread", calls.MPI_Init_thread(0n, 0n, FUNNELED, number));
    if (number[0]! < FUNNELED) {
      throw new UserError(`${library.version} (${library.path}) cannot be called beside threads.`);
    }
    check("MPI_Comm_rank", calls.MPI_Comm_rank(world, number));
    this.rank = number[0]!;
    check("MPI_Comm_size", calls.MPI_Comm_size(world, number));
    this.size = number[0]!;
    this.processor = textOf(calls.MPI_Get_processor_name);
  }

  /**
   * Loads the library and begins.
   * @param path file of the library
   * @throws {UserError} if there is none, or it is no MPI that is known.
   */
  static begin(path: string): Mpi {
    let calls: Calls;
    try {
      calls = Deno.dlopen(path, symbols).symbols;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      throw new UserError(`${path} cannot be loaded as an MPI library (${reasonOf(error)}).`);
    }
    const text = textOf(calls.MPI_Get_library_version);
    const version = text.split(/[,\n]/)[0]!.trim().replaceAll(/\s+/g, " ");
    const kind = kinds.find((each) => each.version.test(version));
    if (!kind) {
      const known = kinds.map(({ name }) => name).join(" and ");
      throw new UserError(`${path} is "${version}", and only ${known} are known.`);
    }
    return new Mpi(calls, kind, handlesOf(path, kind), { path, version });
  }

  /** Sums arrays of all ranks element by element, in place: all have the same sums to the bit. */
  sum(values: Float32Array | Float64Array): void {
    const { calls, handles, kind } = this;
    const type = values instanceof Float32Array ? handles.float : handles.double;
    for (let from = 0; from < values.length; from += MOST) {
      const part = values.subarray(from, from + MOST) as Float32Array<ArrayBuffer>;
      const { length } = part;
      check(
        "MPI_Allreduce",
        calls.MPI_Allreduce(kind.inPlace, part, length, type, handles.sum, handles.world),
      );
    }
  }

  /** Fills the bytes of all ranks with those of `root`. */
  broadcast(bytes: Uint8Array, root: number): void {
    const { calls, handles } = this;
    for (let from = 0; from < bytes.length; from += MOST) {
      const part = bytes.subarray(from, from + MOST) as Uint8Array<ArrayBuffer>;
      check("MPI_Bcast", calls.MPI_Bcast(part, part.length, handles.byte, root, handles.world));
    }
  }

  /** Waits until all ranks are here. */
  barrier(): void {
    check("MPI_Barrier", this.calls.MPI_Barrier(this.handles.world));
  }

  /** Ends all ranks at once, with an exit code. */
  abort(code: number): void {
    this.calls.MPI_Abort(this.handles.world, code);
  }

  /** Ends MPI, when all ranks have come to it. */
  finalize(): void {
    check("MPI_Finalize", this.calls.MPI_Finalize());
  }
}

function handlesOf(path: string, { handles }: Kind): Record<HandleName, bigint> {
  const find = (name: string): bigint => {
    const { dlopen, dlsym } = Deno.dlopen(path, linker).symbols;
    const cText = (text: string) => new TextEncoder().encode(`${text}\0`);
    const address = dlsym(dlopen(cText(path), RTLD_LAZY), cText(name));
    if (address) return address;
    throw new UserError(
      `${path} has no symbol ${name}, as an Open MPI must; name another library.`,
    );
  };
  return Object.fromEntries(handleNames.map((name) => {
    const handle = handles[name];
    return [name, typeof handle === "string" ? find(handle) : handle];
  })) as Record<HandleName, bigint>;
}

/** A text that a call writes into a buffer, with its length. */
function textOf(call: (text: Uint8Array<ArrayBuffer>, length: Int32Array<ArrayBuffer>) => number) {
  const [text, length] = [new Uint8Array(TEXT_BYTES), new Int32Array(1)];
  call(text, length);
  return new TextDecoder().decode(text.subarray(0, length[0]!)).replace(/\0.*$/s, "");
}

/** Libraries end all processes at an error of their own; what they give back is checked all the same. */
function check(call: string, result: number): void {
  if (result !== 0) throw new Error(`${call} failed with ${result}.`);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.trim().replace(/\.$/, "") : String(error);
}
