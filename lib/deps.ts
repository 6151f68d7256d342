/**
 * The libraries that `mod.ts` reaches, with full specifiers, because a module imported by URL does
 * not see our import map. tfjs has a file of its own, `tfjs.ts`.
 */
export * as z from "npm:zod@4.6.7";
export { closestString } from "npm:deno-std@1.4.0/text/mod.js";
