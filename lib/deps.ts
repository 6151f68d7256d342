/**
 * The libraries that `mod.ts` reaches, with full specifiers, because a module imported by URL does
 * not see our import map. tfjs has a file of its own, `tfjs.ts`.
 */
export * as z from "npm:zod@4.6.7";
export { concat } from "npm:deno-std@1.4.0/bytes/concat.js";
export { basename, dirname } from "npm:deno-std@1.4.0/path/mod.js";
export { levenshteinDistance } from "npm:deno-std@1.4.0/text/mod.js";
export { createTarDecoder } from "npm:modern-tar@0.8.6";
export { default as protobuf } from "npm:protobufjs@8.8.1/light.js";

/** Types of the image decoder. */
export type * as Magick from "npm:@imagemagick/magick-wasm@0.0.43";
/** The image decoder, loaded when the first picture is read. */
export type MagickWasm = typeof import("npm:@imagemagick/magick-wasm@0.0.43");
/** @returns the image decoder, which still wants its WebAssembly. */
export const importMagick = (): Promise<MagickWasm> =>
  import("npm:@imagemagick/magick-wasm@0.0.43");
/** @returns where the image decoder's WebAssembly lies: in Deno's npm cache. */
export const magickWasmUrl = (): URL =>
  new URL(import.meta.resolve("npm:@imagemagick/magick-wasm@0.0.43/magick.wasm"));

/** Types of the Parquet reader. */
export type * as Parquet from "npm:hyparquet@1.33.0";
/**
 * Chosen since it is JavaScript alone, without dependencies and install scripts: 59,279 bytes as
 * `deno bundle --platform browser --minify` packs the two functions that are used, 18,349 of them
 * with gzip. `@dsnp/parquetjs` is in TypeScript and cared for too, and brings an S3 client along.
 * @returns the Parquet reader, loaded when the first Parquet file is read.
 */
export const importParquet = (): Promise<typeof import("npm:hyparquet@1.33.0")> =>
  import("npm:hyparquet@1.33.0");
/** @returns what unpacks Parquet's rarer compressions. */
export const importParquetCompressors = async (): Promise<
  import("npm:hyparquet@1.33.0").Compressors
> => (await import("npm:hyparquet-compressors@1.1.2")).compressors;
