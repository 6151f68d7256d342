/**
 * The one file that names tfjs packages; every other file imports `tf` from here.
 *
 * Full `npm:` specifiers, because a module imported by URL does not see our import map.
 */
import * as tf from "npm:@tensorflow/tfjs@4.22.0";
import { WebGPUBackend } from "npm:@tensorflow/tfjs-backend-webgpu@4.22.0";
import * as wasmBackend from "npm:@tensorflow/tfjs-backend-wasm@4.22.0";

export { tf, wasmBackend, WebGPUBackend };
/** The wasm backend's modules, as a bundle for browsers must have them beside it. */
export const wasmFiles = ["tfjs-backend-wasm-simd.wasm", "tfjs-backend-wasm.wasm"] as const;

/** @returns where one of {@linkcode wasmFiles} lies: in Deno's npm cache. */
export const wasmFileUrl = (name: (typeof wasmFiles)[number]): URL =>
  new URL(import.meta.resolve(`npm:@tensorflow/tfjs-backend-wasm@4.22.0/dist/${name}`));

export type { TensorInfo } from "npm:@tensorflow/tfjs@4.22.0";
