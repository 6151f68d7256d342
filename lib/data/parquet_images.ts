/**
 * Pictures in Parquet files, as Hugging Face keeps image data sets: a column `image`, a struct of
 * `bytes` and `path`, and a column `label` of whole numbers whose names stand in the metadata. A
 * folder may hold several files; which split one belongs to is told by its name (`train-00000-of-…`)
 * or that of its folder.
 */
import { importParquet, importParquetCompressors, type Parquet } from "../deps.ts";
import { UserError } from "../errors.ts";
import { openRegularFile, readFolder } from "../files.ts";
import { ioError, isAbsent, shownPath } from "../io_error.ts";
import { shown } from "../shown.ts";
import {
  byCodePoints,
  enoughClasses,
  listed,
  type Picture,
  type PictureSet,
  type PictureSource,
  shortNameOf,
} from "./picture_set.ts";

/** The columns tried in this order, before any of the same kind. */
const imageNames = ["image", "img"];
const labelNames = ["label", "labels", "fine_label"];

const splits = { train: /^train/, validation: /^(val|dev)/, test: /^test/ } as const;
type SplitName = keyof typeof splits;

/** One file, its footer read. */
interface ParquetFile {
  path: string;
  /** As errors name it: from the folder on. */
  name: string;
  size: number;
  changed: number;
  metadata: Parquet.FileMetaData;
  rows: number;
  columns: { image: string; label: string };
  /** By label; undefined where the file does not say. */
  classNames?: string[];
}

/** Pictures in Parquet files. */
export const parquetImages: PictureSource = {
  what: "a Parquet file or a folder of them, with columns image and label",
  classNames: async (path) => await classNamesOf((await openFiles(path)).files, path),
  open,
};

async function open(path: string, onProgress?: (found: number) => void): Promise<PictureSet> {
  const { root, files } = await openFiles(path);
  const bySplit = splitsOf(files, path);
  const ordered = (Object.keys(splits) as SplitName[]).flatMap((split) => bySplit[split] ?? []);
  const classNames = await classNamesOf(ordered, path);
  const count = (split: SplitName) => bySplit[split]?.reduce((sum, { rows }) => sum + rows, 0);
  const counts = {
    train: count("train")!,
    validation: count("validation"),
    test: count("test"),
  };
  onProgress?.(ordered.reduce((sum, { rows }) => sum + rows, 0));
  const reader = new RowReader(ordered, classNames.length);
  return {
    name: `parquet:${shortNameOf(root)}`,
    shortName: shortNameOf(root),
    classNames,
    counts,
    *lines() {
      yield `parquet ${JSON.stringify(root)}`;
      for (const { name, size, changed, rows } of ordered) {
        yield `${JSON.stringify(name)} ${size} ${changed} ${rows}`;
      }
    },
    read: (start, end) => reader.read(start, end),
    notices: [],
  };
}

/** The files of a path, in the order of their names. */
async function openFiles(path: string): Promise<{ root: string; files: ParquetFile[] }> {
  if (path === "") throw new UserError("parquet: needs a path behind it, as in parquet:flowers.");
  let info: Deno.FileInfo;
  let root: string;
  try {
    info = await Deno.stat(path);
    root = (await Deno.realPath(path)).replaceAll("\\", "/");
  } catch (error) {
    if (!isAbsent(error)) throw ioError(error, "read", path);
    throw new UserError(
      `parquet:${shownPath(path)} does not exist; name a Parquet file or a folder of them.`,
      { cause: error },
    );
  }
  const names = info.isDirectory ? (await parquetFilesIn(root)).sort(byCodePoints) : [""];
  if (names.length === 0) {
    throw new UserError(
      `${shownPath(path)} holds no files of the name *.parquet; name a folder that does, or say ` +
        `folder:${path} for a folder of pictures.`,
    );
  }
  const files: ParquetFile[] = [];
  for (const name of names) {
    files.push(await openFile(name === "" ? root : `${root}/${name}`, name || shortNameOf(root)));
  }
  return { root, files };
}

/** Paths from the folder on, at any depth. */
async function parquetFilesIn(root: string, inside = ""): Promise<string[]> {
  const names: string[] = [];
  for (const { name, isDirectory, isFile } of await readFolder(`${root}/${inside}`)) {
    if (name.startsWith(".")) continue;
    if (isDirectory) names.push(...await parquetFilesIn(root, `${inside}${name}/`));
    else if (isFile && /\.parquet$/i.test(name)) names.push(inside + name);
  }
  return names;
}

async function openFile(path: string, name: string): Promise<ParquetFile> {
  const { file, size } = await openRegularFile(path);
  const { mtime } = await file.stat();
  file.close();
  const { parquetMetadataAsync } = await importParquet();
  let metadata: Parquet.FileMetaData;
  try {
    metadata = await parquetMetadataAsync(bufferOf(path, size), { geoparquet: false });
  } catch (error) {
    throw unreadable(path, error, "its end is not that of a Parquet file");
  }
  const columns = columnsOf(path, metadata);
  return {
    ...{ path, name, size, metadata, columns },
    changed: mtime?.getTime() ?? 0,
    rows: Number(metadata.num_rows),
    classNames: namesIn(metadata, columns.label),
  };
}

/** A file as the reader takes it, opened for each part: few are read, and none stays open. */
function bufferOf(path: string, byteLength: number): Parquet.AsyncBuffer {
  return {
    byteLength,
    slice: async (start, end = byteLength) => {
      const { file } = await openRegularFile(path);
      using _ = file;
      await file.seek(start, Deno.SeekMode.Start);
      const bytes = new Uint8Array(Math.max(0, Math.min(end, byteLength) - start));
      for (let done = 0; done < bytes.length;) {
        const count = await file.read(bytes.subarray(done));
        if (count === null) throw new Error("it ends too early");
        done += count;
      }
      return bytes.buffer;
    },
  };
}

function unreadable(path: string, error: unknown, what: string): unknown {
  if (!(error instanceof Error) || error instanceof UserError) return error;
  return new UserError(
    `${shownPath(path)} cannot be read: ${what} (${error.message}); it was cut short or damaged, ` +
      `so fetch it again.`,
    { cause: error },
  );
}

function columnsOf(path: string, { schema, key_value_metadata }: Parquet.FileMetaData) {
  const columns = topColumns(schema);
  const isStruct = (children: string[]) => children.includes("bytes");
  const structs = columns.filter(({ children }) => isStruct(children)).map(({ name }) => name);
  const whole = columns.filter(({ type }) => type === "INT64" || type === "INT32")
    .map(({ name }) => name);
  const named = classLabels(key_value_metadata).map(([name]) => name)
    .filter((name) => whole.includes(name));
  const image = imageNames.find((name) => structs.includes(name)) ?? only(structs);
  const label = labelNames.find((name) => whole.includes(name)) ?? only(named);
  if (image !== undefined && label !== undefined) return { image, label };
  const has = listed(columns.map(({ name }) => name), 8);
  throw new UserError(
    `${shownPath(path)} is of another schema: it has the columns ${has}, but ` +
      (image === undefined
        ? `none named image that is a struct of bytes and path`
        : `none named label that is of whole numbers`) +
      `; name files as Hugging Face keeps image data sets with classes.`,
  );
}

function only(names: string[]): string | undefined {
  return names.length === 1 ? names[0] : undefined;
}

interface Column {
  name: string;
  type?: string;
  children: string[];
}

/** The schema is a tree in depth-first order. */
function topColumns(schema: Parquet.SchemaElement[]): Column[] {
  const columns: Column[] = [];
  let at = 1;
  const skip = () => {
    const { num_children = 0 } = schema[at++] ?? {};
    for (let i = 0; i < num_children && at < schema.length; i++) skip();
  };
  while (at < schema.length) {
    const { name, type, num_children = 0 } = schema[at++]!;
    const children: string[] = [];
    for (let i = 0; i < num_children && at < schema.length; i++) {
      children.push(schema[at]!.name);
      skip();
    }
    columns.push({ name, type, children });
  }
  return columns;
}

/** The columns of classes and their names, as the metadata of Hugging Face has them. */
function classLabels(metadata: Parquet.KeyValue[] | undefined): [string, string[]][] {
  const text = metadata?.find(({ key }) => key === "huggingface")?.value;
  if (text === undefined) return [];
  try {
    const features = JSON.parse(text)?.info?.features ?? {};
    return Object.entries<{ _type?: unknown; names?: unknown }>(features)
      .filter(([, { _type, names }]) =>
        _type === "ClassLabel" && Array.isArray(names) &&
        names.every((name) => typeof name === "string")
      )
      .map(([column, { names }]) => [column, names as string[]]);
  } catch {
    return [];
  }
}

function namesIn(metadata: Parquet.FileMetaData, label: string): string[] | undefined {
  return classLabels(metadata.key_value_metadata).find(([column]) => column === label)?.[1];
}

/**
 * The names that the files agree on. Where they say none, the labels are their own names.
 * @throws {UserError} if one file has others than the first.
 */
async function classNamesOf(files: readonly ParquetFile[], path: string): Promise<string[]> {
  const { classNames, name } = files[0]!;
  for (const file of files) {
    if (JSON.stringify(file.classNames) === JSON.stringify(classNames)) continue;
    throw new UserError(
      `${shownPath(file.path)} has other classes than ${name}; give files of one data set.`,
    );
  }
  if (classNames) return enoughClasses(classNames, path);
  let most = -1;
  for (const file of files) {
    const rows = await readRows(file, 0, file.rows, [file.columns.label]);
    for (const row of rows) most = Math.max(most, Number(row[file.columns.label]));
  }
  return enoughClasses(Array.from({ length: most + 1 }, (_, label) => String(label)), path);
}

/** Files by split; all of them train where no name tells. */
function splitsOf(
  files: ParquetFile[],
  path: string,
): Partial<Record<SplitName, ParquetFile[]>> {
  const split = ({ name }: ParquetFile) => {
    const parts = name.toLowerCase().split("/").reverse();
    for (const part of parts) {
      for (const [split, pattern] of Object.entries(splits)) {
        if (pattern.test(part)) return split as SplitName;
      }
    }
    return undefined;
  };
  if (files.every((file) => split(file) === undefined) || files.length === 1) {
    return { train: files };
  }
  const stranger = files.find((file) => split(file) === undefined);
  if (stranger) {
    throw new UserError(
      `${
        shownPath(stranger.path)
      } is named after no split, as train-… and test-… are; rename it, ` +
        `or name the files to use one by one.`,
    );
  }
  const groups = Object.groupBy(files, (file) => split(file)!);
  if (groups.train) return groups;
  throw new UserError(
    `${shownPath(path)} has files for ${listed(Object.keys(groups))} but none for train.`,
  );
}

type Row = Record<string, unknown>;

async function readRows(
  { path, size, metadata }: ParquetFile,
  rowStart: number,
  rowEnd: number,
  columns: string[],
): Promise<Row[]> {
  const { parquetReadObjects } = await importParquet();
  const compressors = await importParquetCompressors();
  const file = bufferOf(path, size);
  const options = { file, metadata, columns, rowStart, rowEnd, compressors };
  try {
    return await parquetReadObjects({ ...options, utf8: false, geoparquet: false });
  } catch (error) {
    throw unreadable(path, error, `its rows ${rowStart} to ${rowEnd} are not whole`);
  }
}

/** Reads rows a row group at a time, and keeps the last group: a shard ends where it will. */
class RowReader {
  private last: { file: ParquetFile; start: number; rows: Row[] } | undefined;

  constructor(private readonly files: ParquetFile[], private readonly classes: number) {}

  async *read(start: number, end: number): AsyncGenerator<Picture> {
    let first = 0;
    for (const file of this.files) {
      const from = Math.max(start - first, 0);
      const to = Math.min(end - first, file.rows);
      for (let row = from; row < to; row++) {
        yield this.pictureOf(file, row, await this.row(file, row));
      }
      first += file.rows;
    }
  }

  private async row(file: ParquetFile, row: number): Promise<Row> {
    const { last } = this;
    if (last?.file === file && row >= last.start && row < last.start + last.rows.length) {
      return last.rows[row - last.start]!;
    }
    // Before the next group is read, or there would be two in memory.
    this.last = undefined;
    let start = 0;
    for (const { num_rows } of file.metadata.row_groups) {
      const count = Number(num_rows);
      if (row < start + count) {
        const { image, label } = file.columns;
        const rows = await readRows(file, start, start + count, [image, label]);
        if (rows.length !== count) {
          throw new UserError(
            `${shownPath(file.path)} has ${rows.length} rows where ${count} are declared; it is ` +
              `damaged, so fetch it again.`,
          );
        }
        this.last = { file, start, rows };
        return rows[row - start]!;
      }
      start += count;
    }
    throw new UserError(
      `${shownPath(file.path)} declares ${file.rows} rows but its groups have ${start}; it is ` +
        `damaged, so fetch it again.`,
    );
  }

  private pictureOf({ path, name, columns }: ParquetFile, row: number, values: Row): Picture {
    const label = labelOf(values[columns.label]);
    if (label === undefined || label < 0 || label >= this.classes) {
      throw new UserError(
        `Row ${row} of ${shownPath(path)} has the label ${
          shown(plain(values[columns.label]))
        }, but ` +
          `${this.classes} classes have labels from 0 to ${
            this.classes - 1
          }; mend it, or leave the ` +
          `file out if it is a test set without labels.`,
      );
    }
    const { bytes, path: source } = (values[columns.image] ?? {}) as Record<string, unknown>;
    if (!(bytes instanceof Uint8Array) && source !== undefined && source !== null) {
      throw new UserError(
        `Row ${row} of ${shownPath(path)} holds the path of a picture instead of its bytes; save ` +
          `the data set with its pictures embedded.`,
      );
    }
    // Of the group's memory only this picture goes to a worker.
    const own = bytes instanceof Uint8Array ? bytes.slice() : new Uint8Array();
    return { name: `row ${row} of ${name}`, label, bytes: own };
  }
}

function labelOf(value: unknown): number | undefined {
  const label = typeof value === "bigint" ? Number(value) : value;
  return Number.isSafeInteger(label) ? label as number : undefined;
}

function plain(value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}
