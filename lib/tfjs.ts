/**
 * The one file that names tfjs packages; every other file imports `tf` from here.
 *
 * Full `npm:` specifiers, because a module imported by URL does not see our import map.
 */
import * as tf from "npm:@tensorflow/tfjs@4.22.0";
import { WebGPUBackend } from "npm:@tensorflow/tfjs-backend-webgpu@4.22.0";
import * as wasmBackend from "npm:@tensorflow/tfjs-backend-wasm@4.22.0";

export { tf, wasmBackend, WebGPUBackend };

/** @returns where the wasm backend's WebAssembly with SIMD lies: in Deno's npm cache. */
export const wasmBackendUrl = (): URL =>
  new URL(
    import.meta.resolve(
      "npm:@tensorflow/tfjs-backend-wasm@4.22.0/dist/tfjs-backend-wasm-simd.wasm",
    ),
  );
export type { TensorInfo } from "npm:@tensorflow/tfjs@4.22.0";
