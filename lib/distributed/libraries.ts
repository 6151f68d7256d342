/**
 * The MPI libraries that are known: under which names the system has them, and what their handles
 * are. Open MPI's are addresses of its symbols, those of MPICH and of what shares its binary
 * interface (Intel MPI, MVAPICH, Cray MPICH) are numbers of its `mpi.h`.
 */

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

/** A name under which systems have a library. */
export interface LibraryName {
  readonly file: string;
  /** Environment variables by which its launcher tells a process how many there are. */
  readonly sizes: readonly string[];
}

const openMpiSizes = ["OMPI_COMM_WORLD_SIZE"];
const mpichSizes = ["PMI_SIZE"];

/** In the order in which they are tried, but that of the launcher at work comes first. */
export const libraryNames: readonly LibraryName[] = Deno.build.os === "darwin"
  ? [
    { file: "libmpi.40.dylib", sizes: openMpiSizes },
    { file: "libmpi.12.dylib", sizes: mpichSizes },
  ]
  : [
    { file: "libmpi.so.40", sizes: openMpiSizes },
    // Debian's name, and MPICH's own, which Intel MPI has too.
    { file: "libmpich.so.12", sizes: mpichSizes },
    { file: "libmpi.so.12", sizes: mpichSizes },
  ];

/** The variables by which launchers tell the number of ranks, Slurm's among them. */
export const sizeVariables: readonly string[] = [...openMpiSizes, ...mpichSizes, "SLURM_NTASKS"];

/** How to get a library. */
export const mpiAdvice = "install one, on Debian with `apt-get install openmpi-bin libopenmpi3`, " +
  "or name its file with --mpi PATH";

/**
 * The MPI libraries that this system loads by name, as the cache of its loader has them. Nothing is
 * loaded for that, so no permission but that to read is needed.
 * @param cache the bytes of `/etc/ld.so.cache`
 * @returns their paths
 */
export function librariesIn(cache: Uint8Array): string[] {
  const text = new TextDecoder("latin1").decode(cache);
  const found = libraryNames.flatMap(({ file }) => {
    const pattern = new RegExp(`/[^\\0]*/${file.replaceAll(".", "\\.")}(?=\\0)`, "g");
    return text.match(pattern) ?? [];
  });
  return [...new Set(found)];
}
