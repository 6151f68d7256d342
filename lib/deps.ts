/**
 * The libraries that `mod.ts` reaches, with full specifiers, because a module imported by URL does
 * not see our import map. tfjs has a file of its own, `tfjs.ts`.
 */
export * as z from "npm:zod@4.6.7";
export * as jpeg from "npm:jpeg-js@0.4.4";
export * as png from "npm:fast-png@8.0.0";
export { concat } from "npm:deno-std@1.4.0/bytes/concat.js";
export { basename, dirname } from "npm:deno-std@1.4.0/path/mod.js";
export { levenshteinDistance } from "npm:deno-std@1.4.0/text/mod.js";
export { createTarDecoder } from "npm:modern-tar@0.8.6";
export { default as protobuf } from "npm:protobufjs@8.8.1/light.js";
