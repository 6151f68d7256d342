/**
 * The MPI libraries that are known: where systems have them, and what their handles are. Open MPI's are addresses of its symbols, those of MPICH and of what shares its binary
 * interface (Intel MPI, MVAPICH, Cray MPICH) are numbers of its `mpi.h`.
 */

import { UserError } from "../errors.ts";

/** What the calls of {@linkcode Mpi} name by a handle. */
export const handleNames = ["world", "float", "double", "byte", "sum"] as const;

/** One of them. */
export type HandleName = typeof handleNames[number];

/** A library's numbers. */
export interface Kind {
  /** As people call it. */
  readonly name: string;
  /** Whether a library is of this kind, by the text that `MPI_Get_library_version` gives. */
  readonly version: RegExp;
  /** Handles: a number, or the symbol whose address it is. */
  readonly handles: Readonly<Record<HandleName, bigint | string>>;
  /** `MPI_IN_PLACE`, as the address that it is. */
  readonly inPlace: bigint;
}

/** By what they are told apart. */
export const kinds: readonly Kind[] = [
  {
    name: "Open MPI",
    version: /^Open MPI/,
    handles: {
      world: "ompi_mpi_comm_world",
      float: "ompi_mpi_float",
      double: "ompi_mpi_double",
      byte: "ompi_mpi_byte",
      sum: "ompi_mpi_op_sum",
    },
    inPlace: 1n,
  },
  {
    name: "MPICH",
    version: /^(MPICH|Intel\(R\) MPI|MVAPICH|CRAY MPICH)/i,
    handles: {
      world: 0x44000000n,
      float: 0x4c00040an,
      double: 0x4c00080bn,
      byte: 0x4c00010dn,
      sum: 0x58000003n,
    },
    inPlace: 2n ** 64n - 1n,
  },
];

/** A place where a system has a library. */
export interface Place {
  readonly path: string;
  /** Environment variable by which its launcher tells a process how many there are. */
  readonly size: string;
}

const debian = ["x86_64", "aarch64"].flatMap((machine): Place[] => [
  { path: `/usr/lib/${machine}-linux-gnu/libmpi.so.40`, size: "OMPI_COMM_WORLD_SIZE" },
  { path: `/usr/lib/${machine}-linux-gnu/libmpich.so.12`, size: "PMI_SIZE" },
]);

/**
 * Where systems have them: Debian, Fedora and its like, Homebrew. Whole paths, since Deno permits no
 * library by its name alone.
 */
export const places: readonly Place[] = [
  ...debian,
  { path: "/usr/lib64/openmpi/lib/libmpi.so.40", size: "OMPI_COMM_WORLD_SIZE" },
  { path: "/usr/lib64/mpich/lib/libmpi.so.12", size: "PMI_SIZE" },
  { path: "/opt/homebrew/lib/libmpi.40.dylib", size: "OMPI_COMM_WORLD_SIZE" },
  { path: "/opt/homebrew/lib/libmpi.12.dylib", size: "PMI_SIZE" },
];

/** The variables by which launchers tell the number of ranks, Slurm's among them. */
export const sizeVariables: readonly string[] = [
  "OMPI_COMM_WORLD_SIZE",
  "PMI_SIZE",
  "SLURM_NTASKS",
];

/** How to get a library. */
export const mpiAdvice = "install one, on Debian with `apt-get install openmpi-bin libopenmpi3`, " +
  "or name its file with --mpi PATH";

/** The libraries that are in their places. */
export async function librariesHere(): Promise<Place[]> {
  const found = await Promise.all(places.map(({ path }) => {
    return Deno.stat(path).then(({ isFile }) => isFile, () => false);
  }));
  return places.filter((_, i) => found[i]);
}

/**
 * The path of the library to load: the launcher's own, else any.
 * @param environment those of {@linkcode sizeVariables} that are set
 * @throws {UserError} if there is none, with the way to get one.
 */
export async function findLibrary(environment: Readonly<Record<string, string>>): Promise<string> {
  const here = await librariesHere();
  const found = here.find(({ size }) => size in environment) ?? here[0];
  if (found) return found.path;
  throw new UserError(`There is no MPI library in any of its usual places: ${mpiAdvice}.`);
}
