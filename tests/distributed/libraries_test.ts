import { assert, assertEquals } from "@std/assert";
import { kinds, places, sizeVariables } from "../../lib/distributed/libraries.ts";

Deno.test("a library is known by what it says of its version", () => {
  const texts = {
    "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4": "Open MPI",
    "Open MPI v5.0.3, package: Open MPI root@x": "Open MPI",
    "MPICH Version:\t4.0.2": "MPICH",
    "Intel(R) MPI Library 2021.9 for Linux* OS": "MPICH",
    "MVAPICH2 Version : 2.3.7": "MPICH",
    "Microsoft MPI 10.1": undefined,
  };
  for (const [text, name] of Object.entries(texts)) {
    assertEquals(kinds.find(({ version }) => version.test(text))?.name, name, text);
  }
});

Deno.test("each place has a library of one kind, and its launcher's variable", () => {
  for (const { path, size } of places) {
    assertEquals(size, /libmpi\.(so\.)?40/.test(path) ? "OMPI_COMM_WORLD_SIZE" : "PMI_SIZE", path);
    assert(sizeVariables.includes(size));
  }
});
