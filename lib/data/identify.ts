/**
 * What a person named instead of the data: another version of the data set, another kind of file,
 * the folder above or below. Told by first bytes and names, before anything long is read.
 */
import { basename, dirname } from "../deps.ts";
import { UserError } from "../errors.ts";
import { cifarFiles, cifarLayouts } from "./cifar.ts";

/** The archive that was asked for. */
export interface AskedArchive {
  /** The data set's, as `--dataset` names it. */
  name: string;
  url: string;
  /** The folder inside it. */
  folder: string;
  files: readonly string[];
}

/** One form in which the data sets are handed out. */
interface Version {
  title: string;
  /** The folder inside its archive. */
  folder: string;
  /** Files that tell it, all of them together, where the folder has another name. */
  members: readonly string[];
  /** The data set that it is read as; absent where it is not read. */
  dataset?: string;
}

const versions: readonly Version[] = [
  ...Object.values(cifarLayouts).map((layout) => ({
    title: `the binary version of ${titleOf(layout)}`,
    folder: layout.folder,
    members: [...layout.trainFiles, ...layout.testFiles],
    dataset: layout.name,
  })),
  version("Python", "CIFAR-100", "cifar-100-python", ["train", "test", "meta"]),
  version("Python", "CIFAR-10", "cifar-10-batches-py", ["data_batch_1", "batches.meta"]),
  version("MATLAB", "CIFAR-100", "cifar-100-matlab", ["train.mat", "test.mat"]),
  version("MATLAB", "CIFAR-10", "cifar-10-batches-mat", ["data_batch_1.mat"]),
];

function version(form: string, set: string, folder: string, members: string[]): Version {
  return { title: `the ${form} version of ${set}`, folder, members };
}

function titleOf({ name }: { name: string }): string {
  return name.replace("cifar", "CIFAR-");
}

function wayOut(asked: AskedArchive): string {
  return `name ${basename(asked.url)} or its folder ${asked.folder}, or leave --data out to have ` +
    `it fetched`;
}

const text = (bytes: Uint8Array) => String.fromCharCode(...bytes);

/** Whether a file's first bytes, 512 where it has them, are those of HTML or XML. */
export function isPage(head: Uint8Array): boolean {
  const start = text(head).replace(/^(\xef\xbb\xbf)?\s*/, "");
  return /^<(!doctype html|html|head|body|title|\?xml|!--)/i.test(start);
}

/** Kinds of files by their first bytes, and what to do with them where that is not the usual. */
const kinds: [what: string, is: (head: Uint8Array) => boolean, way?: string][] = [
  ["an empty file", (head) => head.length === 0],
  ["an HTML page, perhaps of a download that failed", isPage],
  ["a ZIP file", begins("PK\x03\x04")],
  ["packed with bzip2", begins("BZh"), "pack it again with gzip"],
  ["packed with xz", begins("\xfd7zXZ"), "pack it again with gzip"],
  ["packed with zstd", begins("\x28\xb5\x2f\xfd"), "pack it again with gzip"],
  ["a 7-Zip file", begins("7z\xbc\xaf")],
  ["a RAR file", begins("Rar!")],
  ["a tar archive without gzip", isTar, "pack it with gzip"],
  ["a Python pickle, a file of the Python version", isPickle],
  ["a MATLAB file, one of the MATLAB version", begins("MATLAB 5.0 MAT-file")],
  ["a NumPy array", begins("\x93NUMPY")],
  ["an HDF5 file", begins("\x89HDF")],
  ["a Parquet file", begins("PAR1")],
  ["a PNG picture", begins("\x89PNG")],
  ["a JPEG picture", begins("\xff\xd8\xff")],
];

function begins(magic: string): (head: Uint8Array) => boolean {
  return (head) => text(head.subarray(0, magic.length)) === magic;
}

/** Protocols 2 to 5; older ones are text. */
function isPickle([first, protocol]: Uint8Array): boolean {
  return first === 0x80 && protocol !== undefined && protocol >= 2 && protocol <= 5;
}

/** Whether a block of 512 bytes is a tar header: its bytes have the sum that it states. */
function isTar(block: Uint8Array): boolean {
  if (block.length < 512) return false;
  const stated = octal(block.subarray(148, 156));
  let sum = 8 * 32;
  for (let i = 0; i < 512; i++) if (i < 148 || i >= 156) sum += block[i]!;
  return stated > 0 && stated === sum;
}

function octal(field: Uint8Array): number {
  return parseInt(text(field).replaceAll("\0", " ").trim() || "0", 8);
}

/**
 * Refuses what cannot be an archive of the data.
 * @throws {UserError} naming what it is, if it is not a regular file that begins as gzip does.
 */
export async function refuseOtherFile(path: string, asked: AskedArchive): Promise<void> {
  const info = await Deno.stat(path);
  if (!info.isFile) {
    const kind = info.isCharDevice || info.isBlockDevice
      ? "a device"
      : info.isFifo
      ? "a pipe"
      : info.isSocket
      ? "a socket"
      : "no regular file";
    throw new UserError(
      `--data ${path} is ${kind}, which is not read; name a folder, a .tar.gz archive or a URL.`,
    );
  }
  if (path.endsWith(".part")) {
    throw new UserError(
      `--data ${path} is a download that was not finished; start it again, and it goes on there.`,
    );
  }
  const name = basename(path);
  if (Object.values(cifarLayouts).some((each) => cifarFiles(each).includes(name))) {
    throw new UserError(
      `--data ${path} is one file of a data set; name its folder, ${dirname(path)}.`,
    );
  }
  const head = await headOf(path, 512);
  if (head[0] === 0x1f && head[1] === 0x8b) return;
  for (const [what, is, way] of kinds) {
    if (!is(head)) continue;
    const ways = way === undefined ? "" : `${way} and give --md5 none, or `;
    throw new UserError(
      `--data ${path} is ${what}, and ${asked.name} is read from a .tar.gz; ` +
        `${ways}${wayOut(asked)}.`,
    );
  }
  throw new UserError(
    `--data ${path} is not a .tar.gz archive (it does not begin as gzip does); ${wayOut(asked)}.`,
  );
}

/**
 * Refuses an archive whose first entries tell that it is another one.
 * @param shown what the archive is called in the message
 * @throws {UserError} naming what it is and what is needed.
 */
export async function refuseOtherArchive(
  archive: string,
  asked: AskedArchive,
  shown = archive,
): Promise<void> {
  const tar = await inflated(await headOf(archive, 8192));
  if (tar[0] === 0x1f && tar[1] === 0x8b) {
    throw new UserError(
      `${shown} is packed twice with gzip; unpack it once with gunzip and name what comes of it.`,
    );
  }
  if (tar.length >= 512 && !isTar(tar.subarray(0, 512))) {
    throw new UserError(`${shown} is gzip of what is no tar archive; ${wayOut(asked)}.`);
  }
  const names = entryNames(tar);
  const bases = names.map((name) => name.split("/").at(-1)!);
  const found = versions.find((each) =>
    names.some((name) => name.split("/").includes(each.folder)) ||
    // Of an archive's first entries a single one must do; these no other version has.
    each.members.some((member) => /^data_batch_\d|\.mat$/.test(member) && bases.includes(member))
  );
  if (found) refuseVersion(shown, found, asked);
}

/**
 * Refuses a folder that has none of the data's files, and says what it has.
 * @throws {UserError} if the folder cannot be read or is another one.
 */
export async function refuseOtherFolder(folder: string, asked: AskedArchive): Promise<void> {
  const names = await namesIn(folder);
  const files = asked.files;
  if (files.some((name) => names.includes(name))) return;
  const refuse = (why: string): never => {
    throw new UserError(`--data ${folder} ${why}.`);
  };
  if (names.length === 0) refuse(`is an empty folder; ${wayOut(asked)}`);
  const first = files[0]!;
  for (const name of names) {
    const below = `${folder}/${name}`;
    if (await exists(`${below}/${first}`)) refuse(`is a folder too high; name ${below}`);
    const inner = `${below}/${asked.folder}`;
    if (await exists(`${inner}/${first}`)) refuse(`is two folders too high; name ${inner}`);
  }
  const above = /^\.{0,2}$/.test(basename(folder)) ? `${folder}/..` : dirname(folder);
  if (await exists(`${above}/${first}`)) refuse(`is a folder too low; name ${above}`);
  const archive = basename(asked.url);
  if (names.includes(archive)) {
    refuse(`holds the archive and not its files; name ${folder}/${archive}`);
  }
  const own = basename(folder);
  const found = versions.find((each) =>
    own === each.folder || names.includes(each.folder) ||
    each.members.every((member) => names.includes(member))
  );
  if (found && found.dataset !== asked.name) refuseVersion(`--data ${folder}`, found, asked);
  refuse(`has none of the files of ${asked.name} (${first} and so on); ${wayOut(asked)}`);
}

function refuseVersion(shown: string, found: Version, asked: AskedArchive): void {
  if (found.dataset === asked.name) return;
  throw new UserError(
    found.dataset
      ? `${shown} is ${found.title}, not of ${titleOf(asked)}; say --dataset ${found.dataset}, ` +
        `or ${wayOut(asked)}.`
      : `${shown} is ${found.title}, and only the binary versions are read; ${wayOut(asked)}.`,
  );
}

/** Names in the tar headers that these first bytes hold. */
function entryNames(tar: Uint8Array): string[] {
  const names: string[] = [];
  for (let at = 0; at + 512 <= tar.length;) {
    const header = tar.subarray(at, at + 512);
    if (!isTar(header)) break;
    names.push(text(header.subarray(0, 100)).split("\0")[0]!);
    at += 512 + Math.ceil(octal(header.subarray(124, 136)) / 512) * 512;
  }
  return names;
}

/** Bytes that the beginning of a gzip file unpacks to; as much as is whole. */
async function inflated(head: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  try {
    const stream = new Blob([head]).stream().pipeThrough(new DecompressionStream("gzip"));
    for await (const piece of stream) pieces.push(piece);
  } catch {
    // It is only the beginning, so it ends too soon; damage is found when all is unpacked.
  }
  return await new Blob(pieces).bytes();
}

async function headOf(path: string, most: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    using file = await Deno.open(path);
    const head = new Uint8Array(most);
    let filled = 0;
    while (filled < most) {
      const count = await file.read(head.subarray(filled));
      if (count === null) break;
      filled += count;
    }
    return head.subarray(0, filled);
  } catch (error) {
    throw new UserError(`Cannot read ${path} (${(error as Error).message}).`, { cause: error });
  }
}

/** The first names; more than a data set has files tell no more. */
async function namesIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (names.push(name) >= 1000) break;
    }
  } catch (error) {
    throw new UserError(
      `Cannot read the folder ${folder} (${(error as Error).message}).`,
      { cause: error },
    );
  }
  return names;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
