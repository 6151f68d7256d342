import { assertEquals } from "@std/assert";
import { kinds, librariesIn } from "../../lib/distributed/libraries.ts";

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

Deno.test({
  name: "the loader's cache tells which libraries there are",
  ignore: Deno.build.os !== "linux",
  fn: () => {
    const strings = [
      ...["glibc-ld.so.cache1.1", "libmpi.so.40", "/usr/lib/x86_64-linux-gnu/libmpi.so.40"],
      ...["libmpich.so.12", "/opt/mpich/lib/libmpich.so.12", "/opt/mpich/lib/libmpich.so.12.1"],
      ...["libmpi.so", "/usr/lib/libmpi.so"],
    ];
    const cache = new TextEncoder().encode(strings.map((text) => `${text}\0`).join(""));
    assertEquals(librariesIn(cache), [
      "/usr/lib/x86_64-linux-gnu/libmpi.so.40",
      "/opt/mpich/lib/libmpich.so.12",
    ]);
    assertEquals(librariesIn(new Uint8Array()), []);
  },
});
