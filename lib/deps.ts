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

/** What a chart is drawn from. */
export type ChartOption = import("npm:echarts@6.1.0").EChartsOption;
/** The chart library. */
export type Charts = typeof import("npm:echarts@6.1.0");
/**
 * Chosen for reports since it draws SVG without a DOM and lays out axes, legends and labels; Vega and
 * Plot want a DOM or a canvas. The file that is packed already, since its modules read the environment.
 * @returns the chart library, loaded when the first chart is drawn.
 */
export const importCharts = async (): Promise<Charts> =>
  await import("npm:echarts@6.1.0/dist/echarts.esm.min") as unknown as Charts;

/** Matrices and their eigenvectors. */
export type MatrixModule = Pick<
  typeof import("npm:ml-matrix@6.15.1"),
  "Matrix" | "EigenvalueDecomposition"
>;
/** @returns matrices and their eigenvectors, for pictures of filters. */
export const importMatrix = async (): Promise<MatrixModule> =>
  // Its CommonJS types call the module itself a class.
  await import("npm:ml-matrix@6.15.1") as unknown as MatrixModule;

/**
 * Chosen for the live page since it draws thousands of points in little time, and is 51 kB.
 * @returns the script and the style sheet of the live page's charts.
 */
export async function importUplot(): Promise<{ script: string; style: string }> {
  const [script, style] = await Promise.all([
    import("npm:uplot@1.6.32/dist/uPlot.iife.min.js", { with: { type: "text" } }),
    import("npm:uplot@1.6.32/dist/uPlot.min.css", { with: { type: "text" } }),
  ]);
  return { script: script.default, style: style.default };
}
