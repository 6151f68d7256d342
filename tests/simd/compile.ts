/**
 * The compiler of the processor's kernels: `lib/simd/assembly` to `lib/simd/compiled.ts`. Run it
 * after each change there:
 *
 *     deno task build:simd
 *
 * With `--check` it only compares.
 */
import asc from "assemblyscript/asc";

const root = new URL("../../", import.meta.url);
const options = [
  ...["lib/simd/assembly/index.ts", "--outFile", "out.wasm", "-O3", "--converge", "--noAssert"],
  ...["--runtime", "stub", "--importMemory", "--noExportMemory"],
  // tfjs's heap, whose declaration a module's must contain.
  ...["--sharedMemory", "--initialMemory", "1", "--maximumMemory", "65536"],
  ...["--enable", "simd", "--enable", "relaxed-simd", "--enable", "threads"],
];

/** The bytes of the module. */
export async function compile(): Promise<Uint8Array> {
  let module: Uint8Array | undefined;
  const { error, stderr } = await asc.main(options, {
    readFile: (name) => Deno.readTextFile(new URL(name, root)).catch(() => null),
    writeFile: (_, contents) => {
      if (typeof contents !== "string") module = contents;
    },
    listFiles: () => [],
  });
  if (error || !module) throw new Error(`AssemblyScript: ${error?.message}\n${stderr}`);
  return module;
}

/** The text of `compiled.ts`. */
export function moduleText(module: Uint8Array): string {
  const lines = module.toBase64().match(/.{1,96}/g)!;
  return `/** The WebAssembly of \`assembly/\`, made by \`deno task build:simd\`. */
export const compiled = (): Uint8Array<ArrayBuffer> =>
  Uint8Array.fromBase64(\`
${lines.join("\n")}
\`);
`;
}

if (import.meta.main) {
  const path = new URL("lib/simd/compiled.ts", root);
  const text = moduleText(await compile());
  if (Deno.args[0] !== "--check") await Deno.writeTextFile(path, text);
  else if (await Deno.readTextFile(path) !== text) {
    console.error("lib/simd/compiled.ts is not what lib/simd/assembly gives: deno task build:simd");
    Deno.exit(1);
  }
}
