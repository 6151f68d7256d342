/**
 * Models of the Hugging Face hub, `hf:OWNER/NAME[@REVISION]`, fetched into a folder by the commit that a
 * revision means. Each file is known by the size and the checksum that the hub states before it is
 * fetched, and what has come once is not fetched again; without a network, what is there is taken.
 */
import {
  download,
  type DownloadOptions,
  type DownloadProgress,
  writing,
} from "../data/download.ts";
import { publicUrl } from "../data/public_url.ts";
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";
import { readSmallText, writeFileAtomic } from "../files.ts";
import { printable, shown } from "../shown.ts";
import { indexFile, modelFile, pickledError } from "./files.ts";

/** Where models are fetched from, unless told otherwise. */
export const hubUrl = "https://huggingface.co";

/** A model of the hub. */
export interface HubModel {
  owner: string;
  name: string;
  /** A branch, a tag or a commit. */
  revision: string;
}

/** Options of {@linkcode fetchModel}. */
export interface HubOptions {
  /** The folder that holds the folders of models; `data/models` for the tasks. */
  root: string;
  /** Address of the hub. */
  url?: string;
  /** Told how far a file is. */
  onProgress?: (file: string, progress: DownloadProgress) => void;
  /** Told, in a sentence each, what a person should know. */
  onNotice?: (text: string) => void;
  /** For tests: how a download is retried. */
  download?: Partial<Pick<DownloadOptions, "attempts" | "wait" | "stallTimeout" | "leastRate">>;
  /** Milliseconds that the hub has to answer a question; 30,000 by default. */
  timeout?: number;
}

const namePattern = /^hf:([\w][\w.-]{0,95})\/([\w][\w.-]{0,95})(?:@([\w][\w./-]{0,199}))?$/;

/** Whether `--init-from` means a model of the hub. */
export function isHubName(text: string): boolean {
  return text.startsWith("hf:");
}

/**
 * The model that a name means.
 * @throws {UserError} if it is no such name.
 */
export function parseHubName(text: string): HubModel {
  const [, owner, name, revision = "main"] = namePattern.exec(text) ?? [];
  if (owner !== undefined && name !== undefined && !revision.split("/").includes("..")) {
    return { owner, name, revision };
  }
  throw new UserError(
    `${shown(text)} is no model of the hub; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION.`,
  );
}

/** No model that is trained here is larger. */
const maxBytes = 2 ** 36;
/** Files of JSON. */
const smallBytes = 2 ** 20;
const commitPattern = /^[0-9a-f]{40}$/;

/** What the hub says of a file before it is fetched. */
interface Stated {
  commit: string;
  bytes: number;
  checksum: NonNullable<DownloadOptions["checksum"]>;
}

/** The hub could not be asked. */
class Unreachable extends Error {}

/**
 * Fetches what a model needs: its configuration, its preprocessing and its weights, in one file or in
 * shards.
 * @returns its folder.
 * @throws {UserError} if the hub has no such model, or it cannot be fetched and is not there already.
 */
export async function fetchModel(model: HubModel, options: HubOptions): Promise<string> {
  const { root, onNotice } = options;
  const { owner, name, revision } = model;
  const home = `${root}/${owner}--${name}`;
  const known = `${home}/${encodeURIComponent(revision)}.json`;
  try {
    const first = await stated(model, "config.json", options) ??
      await stated(model, modelFile, options);
    if (!first) throw noModel(model, options);
    const folder = `${home}/${first.commit}`;
    await writing(folder, () => Deno.mkdir(folder, { recursive: true }));
    await fetchFiles({ ...model, revision: first.commit }, folder, options);
    // Last, so that what is known without a network is whole.
    const text = JSON.stringify({ commit: first.commit });
    await writeFileAtomic(known, [new TextEncoder().encode(text)]);
    return folder;
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    const folder = await knownFolder(home, known);
    if (folder !== undefined) {
      onNotice?.(`${error.message}; ${folder} is taken, which was fetched before.`);
      return folder;
    }
    throw new UserError(
      `Cannot fetch hf:${owner}/${name} (${error.message}); ${wayOut(model)}.`,
      { cause: error },
    );
  }
}

function wayOut({ owner, name }: HubModel): string {
  return `fetch config.json and ${modelFile} of ${owner}/${name} by other means and name their folder`;
}

async function knownFolder(home: string, known: string): Promise<string | undefined> {
  try {
    const { commit } = z.object({ commit: z.string().regex(commitPattern) })
      .parse(JSON.parse(await readSmallText(known)));
    const folder = `${home}/${commit}`;
    return (await Deno.stat(folder)).isDirectory ? folder : undefined;
  } catch {
    return undefined;
  }
}

async function fetchFiles(model: HubModel, folder: string, options: HubOptions): Promise<void> {
  for (const file of ["config.json", "preprocessor_config.json"]) {
    await fetchFile(model, file, folder, options);
  }
  if (await fetchFile(model, modelFile, folder, options)) return;
  if (!await fetchFile(model, indexFile, folder, options)) throw await withoutModel(model, options);
  const index = z.looseObject({ weight_map: z.record(z.string(), z.string()) })
    .safeParse(jsonOf(await readSmallText(`${folder}/${indexFile}`)));
  if (!index.success) {
    throw new UserError(
      `What the hub has as ${indexFile} of ${model.owner}/${model.name} is no index of shards; ` +
        `${wayOut(model)}.`,
    );
  }
  const shards = new Set(Object.values(index.data.weight_map));
  for (const shard of shards) {
    // The rest of the index is looked at when it is read.
    if (!/^[\w][\w.-]{0,200}\.safetensors$/.test(shard)) {
      throw new UserError(
        `The hub's ${indexFile} of ${model.owner}/${model.name} names the file ${shown(shard)}, ` +
          `and a plain name is needed; ${wayOut(model)}.`,
      );
    }
    if (!await fetchFile(model, shard, folder, options)) {
      throw new UserError(
        `The hub has no ${shown(shard)} of ${model.owner}/${model.name}, which its ${indexFile} ` +
          `names; take another revision.`,
      );
    }
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @returns false where the model has no such file. */
async function fetchFile(
  model: HubModel,
  file: string,
  folder: string,
  options: HubOptions,
): Promise<boolean> {
  const path = `${folder}/${file}`;
  const facts = await stated(model, file, options);
  if (!facts) return false;
  const size = await Deno.stat(path).then(({ size }) => size, () => undefined);
  // It has its name since it had its checksum, and the folder is of one commit.
  if (size === facts.bytes) return true;
  const most = file.endsWith(".safetensors") ? maxBytes : smallBytes;
  if (facts.bytes > most) {
    throw new UserError(
      `The hub says that ${file} of ${model.owner}/${model.name} has ${facts.bytes} bytes, and more ` +
        `than ${most} are not taken; take another model.`,
    );
  }
  await download(urlOf(model, file, options), path, {
    ...options.download,
    checksum: facts.checksum,
    maxBytes: facts.bytes,
    what: "model",
    wayOut: wayOut(model),
    onProgress: (progress) => options.onProgress?.(file, progress),
  });
  return true;
}

function urlOf({ owner, name, revision }: HubModel, file: string, options: HubOptions): string {
  const base = (options.url ?? hubUrl).replace(/\/+$/, "");
  return `${base}/${owner}/${name}/resolve/${
    revision.split("/").map(encodeURIComponent).join("%2F")
  }/${file}`;
}

/**
 * What the hub says of a file, asked without following its redirect to where large files lie.
 * @returns undefined where there is none.
 * @throws {Unreachable} if it cannot be asked, {@linkcode UserError} if it refuses or makes no sense.
 */
async function stated(
  model: HubModel,
  file: string,
  options: HubOptions,
): Promise<Stated | undefined> {
  const { owner, name, revision } = model;
  const url = urlOf(model, file, options);
  const response = await ask(url, options);
  const { status, headers } = response;
  const what = `hf:${owner}/${name}${revision === "main" ? "" : `@${revision}`}`;
  if (status === 404) {
    const code = headers.get("x-error-code") ?? "";
    if (code === "RevisionNotFound") {
      throw new UserError(
        `The hub has ${owner}/${name}, but no revision ${shown(revision)} of it.`,
      );
    }
    if (code === "EntryNotFound") return undefined;
    throw noModel(model, options);
  }
  if (status === 401 || status === 403) {
    throw new UserError(
      `The hub does not give ${what} to everybody (it answered ${status}), or there is none; ` +
        `${wayOut(model)}.`,
    );
  }
  if (status >= 500 || status === 429) {
    throw new Unreachable(`${hostOf(url)} answered ${status}`);
  }
  const commit = headers.get("x-repo-commit") ?? "";
  const bytes = Number(headers.get("x-linked-size") ?? headers.get("content-length") ?? NaN);
  const tag = (headers.get("x-linked-etag") ?? headers.get("etag") ?? "")
    .replace(/^W\//, "").replaceAll('"', "");
  const kind = /^[0-9a-f]{64}$/.test(tag) ? "sha256" : commitPattern.test(tag) ? "git" : undefined;
  const isSense = (status === 200 || (status >= 300 && status < 400)) &&
    commitPattern.test(commit) && Number.isSafeInteger(bytes) && bytes > 0 && kind !== undefined;
  if (isSense) return { commit, bytes, checksum: { kind, hex: tag } };
  throw new UserError(
    `${publicUrl(url)} does not answer as the hub does (${status} ` +
      `${
        printable(headers.get("content-type") ?? "without a type", 40)
      }, without a commit, a size ` +
      `or a checksum); ${wayOut(model)}.`,
  );
}

/** A HEAD that follows redirects on the hub alone, as those of models that were renamed. */
async function ask(url: string, { timeout = 30_000 }: HubOptions): Promise<Response> {
  let at = new URL(url);
  for (let hops = 0; hops < 5; hops++) {
    const response = await fetch(at, {
      method: "HEAD",
      redirect: "manual",
      headers: { "accept-encoding": "identity" },
      signal: AbortSignal.timeout(timeout),
    }).catch((error: unknown) => {
      if (error instanceof Deno.errors.NotCapable) {
        throw new UserError(
          `Deno was started without the permission to reach ${at.host}; start it with ` +
            `--allow-net=${at.host} too.`,
        );
      }
      const isLate = error instanceof DOMException && error.name === "TimeoutError";
      throw new Unreachable(
        isLate
          ? `${at.host} did not answer in ${timeout / 1000} s`
          : `${at.host} cannot be reached`,
      );
    });
    const location = response.headers.get("location");
    const isMoved = response.status >= 300 && response.status < 400 && location !== null;
    if (!isMoved || response.headers.has("x-linked-etag")) return response;
    if (!URL.canParse(location, at)) return response;
    const next = new URL(location, at);
    if (next.origin !== at.origin) return response;
    at = next;
  }
  throw new UserError(`${publicUrl(url)} redirects in a circle; take another model.`);
}

function hostOf(url: string): string {
  return new URL(url).host;
}

function noModel({ owner, name, revision }: HubModel, options: HubOptions): UserError {
  return new UserError(
    `${hostOf(options.url ?? hubUrl)} has no model ${owner}/${name} ` +
      `${revision === "main" ? "" : `at ${shown(revision)} `}that can be read; look for its name.`,
  );
}

/** The error of a model without safetensors: pickled, or none at all. */
async function withoutModel(model: HubModel, options: HubOptions): Promise<UserError> {
  for (const file of ["pytorch_model.bin", "pytorch_model.bin.index.json"]) {
    if (await stated(model, file, options)) return pickledError(`pytorch_model.bin`);
  }
  return new UserError(
    `hf:${model.owner}/${model.name} has no ${modelFile}; take a model that has one.`,
  );
}
