/** From what a person names (a data set, a folder, an archive, a URL) to images in memory. */
import { createHash } from "node:crypto";
import { UserError } from "../errors.ts";
import { shown } from "../shown.ts";
import { unpack } from "./archive.ts";
import type { ImageDataset } from "./dataset.ts";
import { download, type DownloadOptions, md5OfFile, writing } from "./download.ts";
import { refuseOtherArchive, refuseOtherFile, refuseOtherFolder } from "./identify.ts";
import { openPictures, type PictureOptions } from "./open_pictures.ts";
import type { DataProgress } from "./progress.ts";
import { publicUrl } from "./public_url.ts";
import {
  type ArchiveSource,
  type DatasetName,
  type DatasetWord,
  datasetWords,
  type DataSource,
  type LabelKind,
  pictureSourceOf,
  sources,
} from "./sources.ts";

/**
 * Bytes that an archive, and all that it holds, may have at most: three times the official ones.
 */
const maxUnpackedBytes = 2 ** 29;
const wellFormedMd5 = /^[0-9a-f]{32}$/;

/** Options of {@linkcode loadDataset}. */
export interface LoadOptions extends Omit<PictureOptions, "preparedRoot"> {
  /** Name of the data set. */
  dataset: DatasetWord;
  /** `coarse` exists for CIFAR-100 only. */
  labels: LabelKind;
  /**
   * A folder, a `.tar.gz` archive or a URL of one; without it the data is looked for, or fetched. Of
   * pictures at a path, where they are now.
   */
  data?: string;
  /** The archive's MD5 in hexadecimal, or `none`; the official one by default. */
  md5?: string;
  /** The folder where data is kept; written to only when something must be unpacked or prepared. */
  root: string;
  /** Told how far things are. */
  onProgress?: (progress: DataProgress) => void;
  /** For tests: how a download is retried, and where the official archive is. */
  download?: Partial<Omit<DownloadOptions, "md5" | "onProgress">> & { url?: string };
}

/**
 * Loads a data set whole. An archive is unpacked once, into a folder of `root` named after the
 * archive's checksum.
 *
 * Without `data`, CIFAR is taken from `root`: a folder of the official name, one unpacked from the
 * official archive, or the only other one there; where there is none, the official archive is
 * fetched.
 * @throws {UserError} if the data cannot be had, is not what its checksum says, or is malformed.
 *
 * @example
 * ```ts
 * import { loadDataset } from "../../mod.ts";
 *
 * const shapes = await loadDataset({ dataset: "shapes", labels: "fine", root: "data" });
 * console.log(shapes.classNames.length, shapes.train.count); // 100 10000
 * ```
 */
export async function loadDataset(options: LoadOptions): Promise<ImageDataset> {
  const { dataset, labels, data, root } = options;
  const pictures = pictureSourceOf(dataset);
  if (pictures) return await loadPictures(options, pictures);
  const md5 = options.md5?.toLowerCase();
  if (md5 !== undefined && md5 !== "none" && !wellFormedMd5.test(md5)) {
    throw new UserError(`--md5 ${options.md5} is neither 32 hexadecimal digits nor "none".`);
  }
  if (!Object.hasOwn(sources, dataset)) {
    throw new UserError(
      `There is no data set ${shown(dataset)}; known are ${datasetWords.join(", ")}.`,
    );
  }
  const name = dataset as DatasetName;
  const source: DataSource = sources[name];
  if (source.classes[labels] === undefined) {
    throw new UserError(`${dataset} has no ${labels} labels; choose fine.`);
  }
  if (source.isGenerated) {
    if (data === undefined) return source.make();
    throw new UserError(`${dataset} is generated, so --data ${data} makes no sense; leave it out.`);
  }
  const job: Job = { ...options, md5, source: { ...source, name } };
  if (data === undefined) {
    const found = await findUnpacked(job);
    return found ? read(job, found) : fromUrl(job, options.download?.url ?? source.url);
  }
  if (/^https?:\/\//i.test(data)) {
    if (!URL.canParse(data)) throw new UserError(`--data ${publicUrl(data)} is not a valid URL.`);
    return fromUrl(job, data);
  }
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(data)) {
    throw new UserError(
      `--data ${publicUrl(data)} is neither an http: nor an https: URL; fetch it by other means ` +
        `and name the file.`,
    );
  }
  const info = await statOrNull(data);
  if (info?.isDirectory) {
    if (md5 !== undefined && md5 !== "none") {
      throw new UserError(`--md5 checks an archive, but --data ${data} is a folder; leave it out.`);
    }
    const inner = `${data}/${source.folder}`;
    const folder = await statOrNull(inner) ? inner : data;
    await refuseOtherFolder(folder, job.source);
    return read(job, folder);
  }
  if (!info) {
    throw new UserError(
      `--data ${data} does not exist; name a folder, a .tar.gz archive or a URL, or leave it out ` +
        `to have ${dataset} fetched to ${root}.`,
    );
  }
  return fromArchive(job, data, root);
}

async function loadPictures(
  options: LoadOptions,
  { source, path }: NonNullable<ReturnType<typeof pictureSourceOf>>,
): Promise<ImageDataset> {
  const { data, md5, labels, root, onProgress } = options;
  if (md5 !== undefined) throw new UserError(`--md5 ${md5} checks an archive; leave it out.`);
  if (labels !== "fine") {
    throw new UserError(`${options.dataset} has no ${labels} labels; choose fine.`);
  }
  const place = data ?? path;
  const set = await source.open(
    place,
    (done) => onProgress?.({ stage: "find", source: place, done, total: null }),
  );
  return await openPictures(set, { ...options, preparedRoot: `${root}/prepared` });
}

interface Job extends LoadOptions {
  source: ArchiveSource & { name: DatasetName };
}

/** The checksum that an archive must have; null if any will do. */
function expectedMd5(job: Job): string | null {
  return job.md5 === "none" ? null : job.md5 ?? job.source.md5;
}

function unpackedFolder({ root, source }: Job, key: string): string {
  return `${root}/${source.folder}-${key.slice(0, 12)}`;
}

async function findUnpacked(job: Job): Promise<string | null> {
  const { root, dataset, source } = job;
  const preferred = job.md5 === undefined || job.md5 === "none"
    ? [`${root}/${source.folder}`, unpackedFolder(job, source.md5)]
    : [unpackedFolder(job, job.md5)];
  for (const folder of preferred) if (await statOrNull(folder)) return folder;
  if (preferred.length === 1 || !(await statOrNull(root))) return null;

  const others: string[] = [];
  for await (const entry of Deno.readDir(root)) {
    const key = entry.name.slice(source.folder.length + 1);
    if (entry.name.startsWith(`${source.folder}-`) && /^[0-9a-f]{12}$/.test(key)) {
      others.push(`${root}/${entry.name}`);
    }
  }
  if (others.length > 1) {
    throw new UserError(
      `${root} holds ${others.length} copies of ${dataset}: ${others.sort().join(", ")}; ` +
        `choose one with --data.`,
    );
  }
  return others[0] ?? null;
}

async function fromUrl(job: Job, url: string): Promise<ImageDataset> {
  const { root, source, onProgress } = job;
  const expected = expectedMd5(job);
  // What has no checksum to be known by is known by where it came from.
  const shown = publicUrl(url);
  const key = expected ?? createHash("md5").update(withoutUser(url)).digest("hex");
  const folder = unpackedFolder(job, key);
  if (await statOrNull(folder)) return read(job, folder);

  await makeRoot(root);
  const archive = `${root}/${source.folder}-${key.slice(0, 12)}.tar.gz`;
  if (!(await statOrNull(archive))) {
    await download(url, archive, {
      maxBytes: maxUnpackedBytes,
      ...job.download,
      md5: expected ?? undefined,
      onProgress: ({ received, ...rest }) =>
        onProgress?.({ stage: "download", source: shown, done: received, ...rest }),
    }).catch(async (error) => {
      const wrong = `${archive}.wrong-md5`;
      if (error.message.includes(wrong)) await refuseOtherArchive(wrong, source, shown);
      throw error;
    });
  }
  let keep = expected !== null;
  try {
    await refuseOtherArchive(archive, source, shown);
    const dataset = await unpackAndRead(job, archive, folder);
    keep = false;
    return dataset;
  } finally {
    // One whose checksum was right is not to blame; another is fetched anew next time.
    if (!keep) await writing(archive, () => Deno.remove(archive));
  }
}

/** The name of a folder is no place for a password, not even as a checksum. */
function withoutUser(url: string): string {
  return url.replace(/\/\/[^/?#]*@/, "//");
}

async function fromArchive(job: Job, archive: string, root: string): Promise<ImageDataset> {
  const expected = expectedMd5(job);
  await refuseOtherFile(archive, job.source);
  await refuseOtherArchive(archive, job.source, `--data ${archive}`);
  const total = (await statOrNull(archive))?.size ?? null;
  let found: string;
  try {
    found = await md5OfFile(
      archive,
      (done) => job.onProgress?.({ stage: "verify", source: archive, done, total }),
    );
  } catch (error) {
    throw new UserError(`Cannot read ${archive} (${(error as Error).message}).`, { cause: error });
  }
  if (expected !== null && found !== expected) {
    throw new UserError(
      `${archive} has md5 ${found}, not ${expected}: it is another packing of the same files ` +
        `(if you trust it, say --md5 ${found} or --md5 none), was damaged or cut short on its way ` +
        `(fetch it again), or is another archive (name the right one, ` +
        `${job.source.url.split("/").at(-1)}).`,
    );
  }
  const folder = unpackedFolder(job, found);
  if (await statOrNull(folder)) return read(job, folder);
  await makeRoot(root);
  return unpackAndRead(job, archive, folder);
}

/** What cannot be read does not come into place, so a bad archive is not met again. */
async function unpackAndRead(job: Job, archive: string, folder: string): Promise<ImageDataset> {
  const total = (await statOrNull(archive))?.size ?? null;
  const temporary = await unpack(archive, {
    files: [...job.source.files],
    parent: job.root,
    maxBytes: maxUnpackedBytes,
    onProgress: (done) => job.onProgress?.({ stage: "unpack", source: archive, done, total }),
  });
  try {
    const dataset = await read(job, temporary, folder);
    await writing(folder, () => Deno.rename(temporary, folder)).catch(async (error) => {
      // Another process may have been faster; what it unpacked is the same.
      if (!(await statOrNull(folder))) throw error;
      await Deno.remove(temporary, { recursive: true });
    });
    return dataset;
  } catch (error) {
    await Deno.remove(temporary, { recursive: true });
    if (!(error instanceof UserError)) throw error;
    // The temporary folder is gone; what is wrong is inside the archive.
    throw new UserError(error.message.replaceAll(temporary, archive), { cause: error });
  }
}

function read(job: Job, folder: string, shownAs = folder): Promise<ImageDataset> {
  return job.source.read(
    folder,
    job.labels,
    (done, total) => job.onProgress?.({ stage: "read", source: shownAs, done, total }),
  );
}

async function makeRoot(root: string): Promise<void> {
  await writing(root, () => Deno.mkdir(root, { recursive: true }));
}

async function statOrNull(path: string): Promise<Deno.FileInfo | null> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) {
      // Deno guards some devices, whatever may be read, and then speaks of --allow-all.
      throw new UserError(
        `Cannot read ${path}: Deno was started without that permission, or lets no program read ` +
          `it; name a folder or a regular file.`,
        { cause: error },
      );
    }
    if (error instanceof Deno.errors.PermissionDenied) {
      throw new UserError(`Cannot read ${path} (${(error as Error).message}).`, { cause: error });
    }
    return null;
  }
}
