/**
 * The live page of runs: answers to a browser, from files alone, so that it outlives the trainer and
 * the trainer it. Nothing of a request names a file: all that may be asked for stands in a table.
 */
import { importUplot } from "../../deps.ts";
import { stripPath } from "../../checkpoint/step_log.ts";
import { runFolder } from "../../checkpoint/run_folder.ts";
import css from "../page.css" with { type: "text" };
import chartsJs from "./page/charts.js" with { type: "text" };
import indexHtml from "./page/index.html" with { type: "text" };
import liveCss from "./page/live.css" with { type: "text" };
import liveJs from "./page/live.js" with { type: "text" };
import stateJs from "./page/state.js" with { type: "text" };
import { RunWatch } from "./run_watch.ts";

/** Options of {@linkcode LivePage}. */
export interface LiveOptions {
  /** Folders of runs, which need not be there yet. */
  readonly runs: readonly string[];
  /** What a request may name as its host, such as `127.0.0.1:8420`. */
  readonly hosts: readonly string[];
  /** Milliseconds between two looks at the files. */
  readonly interval?: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

type Body = string | Uint8Array<ArrayBuffer> | null;

const kinds = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  png: "image/png",
};

/** The page's own files by their paths. */
const texts: Record<string, () => string | Promise<string>> = {
  "/": () => indexHtml,
  "/page.css": () => css,
  "/live.css": () => liveCss,
  "/live.js": () => liveJs,
  "/charts.js": () => chartsJs,
  "/state.js": () => stateJs,
  "/uPlot.iife.min.js": async () => (await importUplot()).script,
  "/uPlot.min.css": async () => (await importUplot()).style,
};

const headers = {
  "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; " +
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
    "frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
};

/** Answers requests for the live page, and tells the pages that are open what is new. */
export class LivePage implements Disposable {
  private readonly watches: RunWatch[];
  private readonly listeners = new Set<ReadableStreamDefaultController<Uint8Array>>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** The look at the files that is under way. */
  private looking: Promise<void> = Promise.resolve();
  private isClosed = false;

  constructor(private readonly options: LiveOptions) {
    this.watches = options.runs.map((path, index) => new RunWatch(path, index));
  }

  /** The answer to a request. */
  async answer(request: Request): Promise<Response> {
    // A page elsewhere could be given a name that leads here, and read all this.
    if (!this.options.hosts.includes(request.headers.get("host") ?? "")) {
      return answered("This server does not answer to that name.\n", 403);
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return answered("Only GET and HEAD are answered.\n", 405);
    }
    const { pathname } = new URL(request.url);
    if (pathname === "/events") return this.events();
    const isHead = request.method === "HEAD";
    if (Object.hasOwn(texts, pathname)) {
      const text = await texts[pathname]!();
      return answered(isHead ? null : text, 200, kindOf(pathname));
    }
    const path = this.fileOf(pathname);
    const bytes = path && await Deno.readFile(path).catch(() => null);
    if (!bytes) return answered("There is no such page.\n", 404);
    const extra: Record<string, string> = pathname.endsWith(".html")
      // A report says itself that it needs nothing, but might not be one.
      ? {
        "content-security-policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
      }
      : {};
    return answered(isHead ? null : bytes, 200, kindOf(pathname), extra);
  }

  /** The file that a path of the page means. */
  private fileOf(pathname: string): string | null {
    const [, index, file] = /^\/runs\/(\d{1,4})\/(strip\.png|report\.html)$/.exec(pathname) ?? [];
    const watch = this.watches[Number(index)];
    if (!watch) return null;
    return file === "strip.png" ? stripPath(runFolder(watch.path)) : `${watch.path}/${file}`;
  }

  /** A stream of server-sent events: all that is known, then what is new. */
  private events(): Response {
    let mine: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start: async (controller) => {
        mine = controller;
        // All that is known, and nothing between it and what is new.
        await (this.looking = this.looking.then(async () => {
          if (this.listeners.size === 0) await this.look();
          const { now } = this.options;
          const all = await Promise.all(this.watches.map((watch) => watch.whole(now())));
          send(controller, "runs", all);
          this.listeners.add(controller);
        }));
        this.watch();
      },
      cancel: () => void this.listeners.delete(mine),
    });
    return new Response(body, { headers: { ...headers, "content-type": "text/event-stream" } });
  }

  /** Looks again and again, as long as somebody listens. */
  private watch(): void {
    const { interval = 2000 } = this.options;
    this.timer ??= setTimeout(async () => {
      await (this.looking = this.looking.then(() => this.look()));
      this.timer = undefined;
      if (this.listeners.size > 0 && !this.isClosed) this.watch();
    }, interval);
  }

  private async look(): Promise<void> {
    for (const watch of this.watches) {
      // What cannot be read now may be readable at the next look.
      const news = await watch.poll(this.options.now()).catch(() => null);
      if (!news) continue;
      for (const listener of this.listeners) {
        // One that is gone has not always said so.
        if (!send(listener, "run", news)) this.listeners.delete(listener);
      }
    }
  }

  /** Ends all streams. */
  [Symbol.dispose](): void {
    this.isClosed = true;
    clearTimeout(this.timer);
    for (const listener of this.listeners) {
      try {
        listener.close();
      } catch {
        // It is closed already.
      }
    }
    this.listeners.clear();
  }
}

/** Sends an event; false where nobody is there any more. */
function send(
  controller: ReadableStreamDefaultController<Uint8Array>,
  event: string,
  data: unknown,
): boolean {
  try {
    controller.enqueue(
      new TextEncoder().encode(`retry: 1000\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`),
    );
    return true;
  } catch {
    return false;
  }
}

function answered(
  body: Body,
  status: number,
  type = "text/plain; charset=utf-8",
  extra: Record<string, string> = {},
): Response {
  return new Response(body, { status, headers: { ...headers, ...extra, "content-type": type } });
}

function kindOf(pathname: string): string {
  const end = pathname === "/" ? "html" : pathname.slice(pathname.lastIndexOf(".") + 1);
  return kinds[end as keyof typeof kinds];
}
