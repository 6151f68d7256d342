/**
 * Unpacks a `.tar.gz` that nobody vouches for: only regular files of known names are written, flat
 * into one new folder, which appears under its name only when all of them are there.
 */
import { createTarDecoder } from "../deps.ts";
import { UserError } from "../errors.ts";
import { openRegularFile } from "../files.ts";
import { writing } from "./download.ts";
import { printable } from "../shown.ts";

/** Options of {@linkcode unpack}. */
export interface UnpackOptions {
  /** The base names of the files to take; all must be there, others are skipped. */
  files: readonly string[];
  /** Place of the temporary folder; on the file system of the final place. */
  parent: string;
  /** Bytes that the unpacked archive may have at most, skipped files included. */
  maxBytes: number;
  /** Told the bytes of the archive read so far. */
  onProgress?: (done: number) => void;
}

/**
 * Unpacks `archive` into a new temporary folder and returns its path; the caller renames it into
 * place or removes it.
 * @throws {UserError} if the archive is cut short, damaged, too large, lacks a file, or holds an
 * entry that is absolute, climbs with `..`, or is a link or a device. Nothing is left behind.
 */
export async function unpack(archive: string, options: UnpackOptions): Promise<string> {
  const source = await openArchive(archive);
  const folder = await writing(
    options.parent,
    () => Deno.makeTempDir({ dir: options.parent, prefix: ".unpack-" }),
  ).catch((error) => {
    source.close();
    throw error;
  });
  try {
    await unpackInto(folder, archive, source, options);
    return folder;
  } catch (error) {
    await Deno.remove(folder, { recursive: true });
    throw error;
  }
}

async function unpackInto(
  folder: string,
  archive: string,
  source: Deno.FsFile,
  { files, maxBytes, onProgress }: UnpackOptions,
): Promise<void> {
  const missing = new Set(files);
  const others = new Set<string>();
  const entries = ReadableStream.from(piecesOf(source))
    .pipeThrough(counted((done) => onProgress?.(done)))
    .pipeThrough(new DecompressionStream("gzip"))
    .pipeThrough(counted((done) => {
      if (done <= maxBytes) return;
      throw new UserError(`${archive} unpacks to more than ${maxBytes} bytes, so it is refused.`);
    }))
    .pipeThrough(createTarDecoder({ strict: true }));
  try {
    for await (const { header, body } of entries) {
      checkEntry(archive, header.name, header.type);
      const name = header.name.split("/").at(-1)!;
      if (header.type === "directory" || !files.includes(name)) {
        if (header.type !== "directory" && others.size < 5) others.add(name);
        // Read and not cancelled: the decoder waits for ever where the body has not come yet.
        for await (const _ of body);
        continue;
      }
      if (!missing.delete(name)) {
        throw new UserError(`${archive} holds ${name} twice, so it is refused.`);
      }
      await writeEntry(`${folder}/${name}`, body);
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(
      `${archive} is cut short or damaged (${(error as Error).message}); fetch it again.`,
      { cause: error },
    );
  }
  if (missing.size > 0) {
    const held = others.size === 0
      ? ""
      : ` and holds ${[...others].map((name) => printable(name)).join(", ")}`;
    throw new UserError(
      `${archive} lacks ${[...missing].join(", ")}${held}; it is another archive.`,
    );
  }
}

/** Errors of the disk are told from errors of the archive, which come through the body. */
async function writeEntry(path: string, body: ReadableStream<Uint8Array>): Promise<void> {
  using file = await writing(path, () => Deno.open(path, { write: true, createNew: true }));
  for await (const chunk of body) {
    for (let written = 0; written < chunk.length;) {
      written += await writing(path, () => file.write(chunk.subarray(written)));
    }
  }
}

function checkEntry(archive: string, name: string, type = "file"): void {
  const refuse = (why: string) => {
    const entry = printable(name);
    throw new UserError(`${archive} holds the entry "${entry}", ${why}, so it is refused.`);
  };
  if (/^([/\\]|[A-Za-z]:)/.test(name)) refuse("an absolute path");
  if (name.split(/[/\\]/).includes("..")) refuse("which climbs out of its folder");
  if (type !== "file" && type !== "directory") refuse(`which is a ${type.replace("-", " ")}`);
}

async function openArchive(archive: string): Promise<Deno.FsFile> {
  const { file } = await openRegularFile(archive);
  const magic = new Uint8Array(2);
  await file.read(magic);
  if (magic[0] === 0x1f && magic[1] === 0x8b) {
    await file.seek(0, Deno.SeekMode.Start);
    return file;
  }
  file.close();
  throw new UserError(`${archive} is not a .tar.gz archive (it does not begin as gzip does).`);
}

/** Bytes that are inflated at a time, to a thousand times as many at most. */
const pieceBytes = 8192;

/** A file's bytes in small pieces: what one piece inflates to is held in memory whole. */
async function* piecesOf(file: Deno.FsFile): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  try {
    while (true) {
      const piece = new Uint8Array(pieceBytes);
      const count = await file.read(piece);
      if (count === null) return;
      yield piece.subarray(0, count);
    }
  } finally {
    file.close();
  }
}

/** Passes bytes on and tells how many went by. */
function counted(
  onCount: (done: number) => void,
): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  let done = 0;
  return new TransformStream({
    transform(chunk, controller) {
      onCount(done += chunk.length);
      controller.enqueue(chunk);
    },
  });
}
