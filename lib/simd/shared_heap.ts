/**
 * tfjs's wasm backend with a heap that threads can share.
 *
 * Its build with threads of its own does not start in Deno, and would thread only its own kernels.
 * Its plain build does, and differs in nothing that matters but one bit: its memory is declared as
 * not shared. So that bit is set before it is compiled. All tensors then lie in shared memory, and
 * workers compute on them where they are.
 */
import { wasmBackend, wasmFileUrl } from "../tfjs.ts";

/** Number of the section that declares the memory, and the flag of one that is shared. */
const MEMORY_SECTION = 5;
const SHARED = 2;

/**
 * Has tfjs take a wasm backend whose memory is shared, when it starts it.
 *
 * @throws {Deno.errors.NotCapable} when Deno's npm cache may not be read.
 */
export async function shareHeap(): Promise<void> {
  const bytes = withSharedMemory(await Deno.readFile(wasmFileUrl("tfjs-backend-wasm-simd.wasm")));
  const url = URL.createObjectURL(new Blob([bytes], { type: "application/wasm" }));
  wasmBackend.setWasmPaths({
    "tfjs-backend-wasm.wasm": url,
    "tfjs-backend-wasm-simd.wasm": url,
    "tfjs-backend-wasm-threaded-simd.wasm": url,
  }, true);
}

/**
 * A copy of a WebAssembly module whose memory is declared as shared.
 *
 * @throws {Error} when it declares none, or one without a largest size, which cannot be shared.
 */
export function withSharedMemory(module: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(module);
  // After the magic number and the version, sections: a number, a length, so many bytes.
  for (let at = 8; at < bytes.length;) {
    const section = bytes[at]!;
    const { value: length, end } = readLeb128(bytes, at + 1);
    if (section === MEMORY_SECTION) {
      // One memory; its flags say with the lowest bit that it has a largest size.
      const flags = bytes[end + 1]!;
      if (bytes[end] === 1 && (flags & ~SHARED) === 1) {
        bytes[end + 1] = flags | SHARED;
        return bytes;
      }
      break;
    }
    at = end + length;
  }
  throw new Error("The WebAssembly module has no memory of limited size that could be shared.");
}

/** An unsigned number in WebAssembly's form, seven bits a byte, and where it ends. */
function readLeb128(bytes: Uint8Array, at: number): { value: number; end: number } {
  let value = 0;
  for (let shift = 0;; shift += 7) {
    const byte = bytes[at++]!;
    value |= (byte & 127) << shift;
    if (byte < 128) return { value, end: at };
  }
}
