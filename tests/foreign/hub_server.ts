/** A server on the loopback that answers as the Hugging Face hub does, and one where large files lie. */
import { createHash } from "node:crypto";

/** What a hub holds and how it misbehaves. */
export interface HubContent {
  /** The commit that `main` means. */
  commit: string;
  /** Files of `owner/name`. */
  files: Record<string, Uint8Array<ArrayBuffer>>;
  /** Answers that come instead, by file. */
  instead?: Record<string, (request: Request) => Response | undefined>;
  /** What the large file's server sends of a file instead of its bytes. */
  body?: (bytes: Uint8Array<ArrayBuffer>, request: Request) => BodyInit | Response;
  /** Whether large files lie on the hub's own host. */
  isOneHost?: boolean;
  /** Changes of what the hub states. */
  stated?: (headers: Headers, file: string) => void;
}

/** A running hub. */
export interface Hub {
  url: string;
  content: HubContent;
  /** `METHOD path` of every request, that of large files as `GET cdn/FILE` with its range. */
  asked: string[];
  close(): Promise<void>;
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const gitSha1 = (bytes: Uint8Array) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

/** Starts a hub that holds `owner/name`, also under its old name `owner/old`. */
export function startHub(content: HubContent): Hub {
  const asked: string[] = [];
  const quiet = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
  const large = (request: Request): Response => {
    const { pathname } = new URL(request.url);
    const file = pathname.slice("/cdn/".length);
    const range = request.headers.get("range");
    asked.push(`${request.method} cdn/${file}${range ? ` ${range}` : ""}`);
    const bytes = hub.content.files[file]!;
    const { body } = hub.content;
    if (body) {
      const sent = body(bytes, request);
      return sent instanceof Response ? sent : new Response(sent, { headers: { etag: '"tag"' } });
    }
    const from = Number(/bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
    const headers = { etag: '"tag"', "content-length": `${bytes.length - from}` };
    if (from === 0) return new Response(bytes, { headers });
    return new Response(bytes.subarray(from), {
      status: 206,
      headers: { ...headers, "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` },
    });
  };
  const cdn = Deno.serve(quiet, large);
  const server = Deno.serve(quiet, (request) => {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/cdn/")) return large(request);
    asked.push(`${request.method} ${pathname}`);
    const [, owner, name, revision, file] =
      /^\/([^/]+)\/([^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(pathname) ?? [];
    if (owner !== "owner") return absent("RepoNotFound");
    // A model that was renamed.
    if (name === "old") {
      return new Response(null, {
        status: 307,
        headers: { location: pathname.replace("old", "name") },
      });
    }
    if (name === "closed") return new Response("Access is restricted", { status: 401 });
    if (name !== "name") return absent("RepoNotFound");
    const { commit, files, instead, stated } = hub.content;
    if (revision !== "main" && revision !== commit) return absent("RevisionNotFound");
    const other = instead?.[file!]?.(request);
    if (other) return other;
    const bytes = files[file!];
    if (!bytes) return absent("EntryNotFound");
    const headers = new Headers({ "x-repo-commit": commit });
    if (!file!.endsWith(".safetensors")) {
      headers.set("etag", `"${gitSha1(bytes)}"`);
      headers.set("content-length", `${bytes.length}`);
      stated?.(headers, file!);
      return new Response(request.method === "HEAD" ? null : bytes, { headers });
    }
    headers.set("x-linked-size", `${bytes.length}`);
    headers.set("x-linked-etag", `"${sha256(bytes)}"`);
    const host = hub.content.isOneHost ? hub.url : `http://127.0.0.1:${cdn.addr.port}`;
    headers.set("location", `${host}/cdn/${file}`);
    stated?.(headers, file!);
    return new Response(null, { status: 302, headers });
  });
  const hub: Hub = {
    url: `http://127.0.0.1:${server.addr.port}`,
    content,
    asked,
    async close() {
      await Promise.all([server.shutdown(), cdn.shutdown()]);
    },
  };
  return hub;
}

function absent(code: string): Response {
  return new Response("Not Found", { status: 404, headers: { "x-error-code": code } });
}
