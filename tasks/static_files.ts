/** A folder's files over HTTP, for this machine alone. */
import { contentType } from "@std/media-types";
import { extname } from "@std/path";

/** A segment that leads nowhere else: no dot at its beginning, no separator. */
const plainSegment = /^[^./\\\0][^/\\\0]*$/;

/**
 * Answers with a file below a folder, `index.html` for the folder itself. A path that could lead out
 * of it, and a page of another host that reaches this server by a name of its own, get nothing.
 */
export async function fileResponse(request: Request, folder: string): Promise<Response> {
  const url = new URL(request.url);
  if (!["127.0.0.1", "localhost"].includes(url.hostname)) return refused(403);
  const path = pathOf(url);
  if (path === undefined) return refused(404);
  try {
    const file = await Deno.open(`${folder}/${path}`);
    const { isFile, size } = await file.stat();
    if (!isFile) {
      file.close();
      return refused(404);
    }
    const headers = {
      "content-type": contentType(extname(path)) ?? "application/octet-stream",
      "content-length": String(size),
    };
    return new Response(file.readable, { headers });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return refused(404);
    throw error;
  }
}

/** The path below the folder; undefined for one that is not plain. */
function pathOf({ pathname }: URL): string | undefined {
  if (pathname === "/") return "index.html";
  let decoded: string;
  try {
    decoded = decodeURIComponent(pathname.slice(1));
  } catch {
    return undefined;
  }
  return decoded.split("/").every((segment) => plainSegment.test(segment)) ? decoded : undefined;
}

function refused(status: number): Response {
  return new Response(null, { status });
}
