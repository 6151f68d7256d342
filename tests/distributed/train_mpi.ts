/** The task `train:mpi` under a launcher, and what its runs leave. */
import { isAbsolute } from "@std/path";
import { widerArguments } from "../../tasks/permissions.ts";
import type { Program } from "./mpirun.ts";

/** Ranks of the task; paths among the arguments are allowed to be written to. */
export function trainMpi(ranks: number, args: readonly string[]): Program {
  const wider = widerArguments("train:mpi", { write: args.filter(isAbsolute) });
  return { ranks, command: ["deno", ...wider, ...args] };
}

/** SHA-256 of the newest state of a run. */
export async function weightsDigest(path: string): Promise<string> {
  const bytes = await Deno.readFile(`${path}/last.safetensors`);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
