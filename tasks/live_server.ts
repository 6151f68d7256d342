/** The live page on a port of this machine. */
import { LivePage } from "../lib/report/live/server.ts";
import { UserError } from "../lib/errors.ts";
import { countOf } from "./cli.ts";

/** The port unless another is told. */
export const defaultPort = 8420;

/** The address that only this machine reaches. */
export const ownHost = "127.0.0.1";

/** Ports after one that is in use, of which the first free one is named. */
const nextPorts = 100;

/** A server that answers. */
export interface LiveServer {
  url: string;
  close(): Promise<void>;
}

/** The port that an option's word stands for. */
export function portOf(word: string | true): number {
  const port = word === true ? defaultPort : countOf("--port", word, "a port");
  if (port <= 65_535) return port;
  throw new UserError(`Port ${port} does not exist; give one from 1 to 65535.`);
}

/**
 * Answers requests for the live page of runs.
 * @param host the address to listen on, which requests must name
 * @throws {UserError} naming the next free port, if this one is in use or may not be taken.
 */
export function serveLive(runs: readonly string[], host: string, port: number): LiveServer {
  const names = host === ownHost ? [host, "localhost"] : [host.includes(":") ? `[${host}]` : host];
  // A browser leaves port 80 out.
  const hosts = names.flatMap((name) => port === 80 ? [name, `${name}:80`] : [`${name}:${port}`]);
  const page = new LivePage({ runs, hosts, now: Date.now });
  try {
    const server = Deno.serve(
      { hostname: host, port, onListen: () => {} },
      (request) => page.answer(request),
    );
    return {
      url: `http://${hosts[0]}/`,
      close: async () => {
        page[Symbol.dispose]();
        await server.shutdown();
      },
    };
  } catch (error) {
    throw refusal(error, host, port);
  }
}

/**
 * Checks that a port can be had, before anything is done that would be lost.
 * @throws {UserError} as {@linkcode serveLive} does.
 */
export function checkPort(host: string, port: number): void {
  try {
    Deno.listen({ hostname: host, port }).close();
  } catch (error) {
    throw refusal(error, host, port);
  }
}

function refusal(error: unknown, host: string, port: number): unknown {
  if (error instanceof Deno.errors.AddrInUse) {
    const next = nextFree(host, port);
    return new UserError(
      `Port ${port} is in use; ${next ? `the next free one is ${next}` : "choose another one"}.`,
    );
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return new UserError(`This user may not take port ${port}; choose one from 1024 on.`);
  }
  if (error instanceof Deno.errors.AddrNotAvailable) {
    return new UserError(`${host} is no address of this machine; choose one, such as ${ownHost}.`);
  }
  return error;
}

function nextFree(host: string, port: number): number | undefined {
  for (let next = port + 1; next <= Math.min(65_535, port + nextPorts); next++) {
    try {
      Deno.listen({ hostname: host, port: next }).close();
      return next;
    } catch {
      // In use as well.
    }
  }
  return undefined;
}
