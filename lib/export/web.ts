/**
 * A static page that classifies pictures in a browser: the model, the program, the wasm backend's
 * files, and a service worker that keeps all of them for when there is no network. Any web server can
 * serve the folder, below any path; nothing on it is computed by a server.
 */
import { sha256 } from "../checkpoint/checksums.ts";
import { dirname } from "../deps.ts";
import { writeFileAtomic } from "../files.ts";
import { ioError } from "../io_error.ts";
import { wasmFiles, wasmFileUrl } from "../tfjs.ts";
import html from "../web/page.html" with { type: "text" };
import icon from "../web/icon.svg" with { type: "text" };
import serviceWorker from "../web/service_worker.js" with { type: "text" };
import style from "../web/page.css" with { type: "text" };

/** Files of a page's folder by name. */
export type PageFiles = Map<string, Uint8Array<ArrayBuffer>>;

/** What a page is made for. */
export interface WebPage {
  /** The model's name, for people. */
  title: string;
  /** Of the model. */
  classes: number;
  /** `lib/web/page.ts`, bundled. */
  program: Uint8Array<ArrayBuffer>;
  /** The model for `tf.loadLayersModel`: `model.json` and its shards. */
  model: PageFiles;
}

/** The files of a page, `index.html` last. */
export async function pageFiles({ title, classes, program, model }: WebPage): Promise<PageFiles> {
  const text = (content: string) => new TextEncoder().encode(content);
  const files: PageFiles = new Map([
    ["page.js", program],
    ["page.css", text(style)],
    ["icon.svg", text(icon)],
    ["about.json", text(JSON.stringify({ title, classes }))],
    ["manifest.webmanifest", text(JSON.stringify(manifestOf(title)))],
  ]);
  for (const [name, bytes] of model) files.set(`model/${name}`, bytes);
  for (const name of wasmFiles) files.set(name, await Deno.readFile(wasmFileUrl(name)));
  const page = text(html);
  const site = {
    version: await versionOf([...files, ["index.html", page]]),
    files: ["./", ...files.keys()],
  };
  files.set("service_worker.js", text(`const site = ${JSON.stringify(site)};\n${serviceWorker}`));
  return files.set("index.html", page);
}

/**
 * Writes files below a folder in their order; one that has an `index.html` then has a whole page.
 * @throws {UserError} if they cannot be written
 */
export async function writeFiles(folder: string, files: PageFiles): Promise<void> {
  for (const [name, bytes] of files) {
    const path = `${folder}/${name}`;
    await Deno.mkdir(dirname(path), { recursive: true }).catch((error) => {
      throw ioError(error, "make", dirname(path));
    });
    await writeFileAtomic(path, [bytes]);
  }
}

function manifestOf(title: string) {
  return {
    name: `${title}: what is in the picture?`,
    short_name: title,
    start_url: "./",
    display: "standalone",
    icons: [{ src: "icon.svg", sizes: "any", type: "image/svg+xml" }],
  };
}

/** Changes with any file. */
async function versionOf(files: [name: string, bytes: Uint8Array<ArrayBuffer>][]): Promise<string> {
  const hashes: string[] = [];
  for (const [name, bytes] of files) hashes.push(`${name} ${await sha256(bytes)}`);
  return (await sha256(new TextEncoder().encode(hashes.join("\n")))).slice(0, 16);
}
