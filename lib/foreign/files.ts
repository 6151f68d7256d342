/**
 * The files of a foreign model: one safetensors file, or shards with their index, and what stands
 * beside them. Pickled files are refused by their names, because to unpickle is to run what is in them.
 */
import { decodeHalf } from "./half.ts";
import { SafetensorsReader } from "../checkpoint/safetensors.ts";
import type { TensorEntry } from "../checkpoint/safetensors_header.ts";
import { dirname, z } from "../deps.ts";
import { UserError } from "../errors.ts";
import { readFolder, readSmallText } from "../files.ts";
import { ioError, shownPath } from "../io_error.ts";
import { shown } from "../shown.ts";

/** The file of a whole model in its folder, and the index of one in shards. */
export const modelFile = "model.safetensors";
/** See {@linkcode modelFile}. */
export const indexFile = `${modelFile}.index.json`;

const pickled = /\.(pth|pt|bin|ckpt|pkl)(\.tar)?$/i;
/** Pickled models as they are named where nothing better lies beside them. */
const pickledModel = /^pytorch_model.*\.bin$|\.(pth|pt|ckpt)$/i;
const mostShards = 1000;
/** An index names each tensor in about a hundred characters. */
const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/** Places of a model's files. */
export interface ForeignFiles {
  /** Where the configuration lies, if it lies anywhere. */
  folder: string;
  /** The safetensors file, or the index of several. */
  path: string;
}

/** The error of a file that only Python can read, with the line that makes one for us. */
export function pickledError(path: string): UserError {
  const target = `${path.replace(pickled, "")}.safetensors`;
  return new UserError(
    `${shownPath(path)} is a pickled file, which runs what is in it when it is read; convert it ` +
      `where you trust it: python -c "import torch, safetensors.torch as s; d = ` +
      `torch.load('${path}', weights_only=True); s.save_file({k: v.contiguous() for k, v in ` +
      `d.items()}, '${target}')"`,
  );
}

/** Whether a name is that of a pickled file. */
export function isPickled(path: string): boolean {
  return pickled.test(path);
}

/**
 * The model of a folder; undefined where it holds none.
 * @throws {UserError} if all it holds is pickled.
 */
export async function filesOfFolder(folder: string): Promise<ForeignFiles | undefined> {
  const names = (await readFolder(folder)).map(({ name }) => name);
  const root = folder.replace(/(?<=.)\/+$/, "");
  for (const name of [modelFile, indexFile]) {
    if (names.includes(name)) return { folder: root, path: `${root}/${name}` };
  }
  const other = names.find((name) => pickledModel.test(name));
  // What else lies in the folder of a run is no matter.
  const isRun = names.some((name) => /^(best|last)\.safetensors$/.test(name));
  if (other !== undefined && !isRun) throw pickledError(`${root}/${other}`);
  return undefined;
}

/** A model's open tensors, whichever files they lie in; close them, or declare them with `await using`. */
export class ForeignTensors implements AsyncDisposable {
  private constructor(
    private readonly readers: Map<string, SafetensorsReader>,
    /** By name: where each lies. */
    private readonly places: Map<string, { reader: SafetensorsReader; entry: TensorEntry }>,
    /** Of the first file. */
    readonly metadata: Readonly<Record<string, string>>,
  ) {}

  /** @throws {UserError} naming the file and the fault. */
  static async open(path: string): Promise<ForeignTensors> {
    const readers = new Map<string, SafetensorsReader>();
    try {
      const places = path.endsWith(".index.json")
        ? await placesOfIndex(path, readers)
        : placesOf(await opened(path, readers));
      const { metadata } = [...readers.values()][0]!.header;
      return new ForeignTensors(readers, places, metadata);
    } catch (error) {
      for (const reader of readers.values()) reader.close();
      throw error;
    }
  }

  /** The shapes of all tensors by name. */
  get shapes(): Map<string, readonly number[]> {
    return new Map([...this.places].map(([name, { entry }]) => [name, entry.shape]));
  }

  /**
   * The numbers of a tensor, whatever floats they are stored as.
   * @throws {UserError} if they are no floats of at most 32 bits, or are not finite.
   */
  async read(name: string, source: string): Promise<Float32Array<ArrayBuffer>> {
    const { reader, entry } = this.places.get(name)!;
    const bytes = await reader.read(entry);
    const { dtype } = entry;
    if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") {
      throw new UserError(
        `${source} cannot be used: its tensor ${shown(name)} is ${dtype}, and F32, F16 and BF16 ` +
          `are read.`,
      );
    }
    const data = dtype === "F32"
      ? new Float32Array(bytes.buffer)
      : decodeHalf(new Uint16Array(bytes.buffer), dtype);
    // In one pass without a branch on each number: NaN and infinity times 0 are NaN.
    let sum = 0;
    for (let i = 0; i < data.length; i++) sum += data[i]! * 0;
    if (sum === 0) return data;
    const wrong = data.find((value) => !Number.isFinite(value));
    throw new UserError(
      `${source} cannot be used: its tensor ${shown(name)} holds ${wrong}, and weights are finite.`,
    );
  }

  /** Closes the files. */
  [Symbol.asyncDispose](): Promise<void> {
    for (const reader of this.readers.values()) reader.close();
    return Promise.resolve();
  }
}

async function opened(path: string, readers: Map<string, SafetensorsReader>) {
  const reader = await SafetensorsReader.open(path);
  readers.set(path, reader);
  return reader;
}

function placesOf(reader: SafetensorsReader) {
  return new Map(reader.header.entries.map((entry) => [entry.name, { reader, entry }]));
}

async function placesOfIndex(path: string, readers: Map<string, SafetensorsReader>) {
  const wrong = (what: string) => new UserError(`${path} cannot be used: ${what}.`);
  const result = indexSchema.safeParse(await readJson(path));
  if (!result.success) throw wrong("it has no weight_map from tensors to files");
  const map = Object.entries(result.data.weight_map);
  const files = new Set(map.map(([, file]) => file));
  if (files.size === 0) throw wrong("its weight_map is empty");
  if (files.size > mostShards) throw wrong(`it names ${files.size} files`);
  for (const file of files) {
    if (/^[\w.-]+\.safetensors$/.test(file) && !file.startsWith(".")) continue;
    throw wrong(`it names the file ${shown(file)}, and a plain name in its own folder is needed`);
  }
  const folder = dirname(path);
  const places: ReturnType<typeof placesOf> = new Map();
  for (const file of files) {
    const found = placesOf(await opened(`${folder}/${file}`, readers));
    for (const [name, place] of found) {
      if (places.has(name)) throw wrong(`two of its files have a tensor ${shown(name)}`);
      places.set(name, place);
      if (result.data.weight_map[name] === file) continue;
      throw wrong(
        `its file ${shown(file)} has a tensor ${shown(name)} that it does not name there`,
      );
    }
  }
  const missing = map.find(([name]) => !places.has(name));
  if (missing) throw wrong(`its file ${shown(missing[1])} has no tensor ${shown(missing[0])}`);
  return places;
}

/**
 * The JSON of a file.
 * @throws {UserError} if it cannot be read, or is no JSON.
 */
export async function readJson(path: string): Promise<unknown> {
  const text = await readSmallText(path).catch((error) => {
    throw ioError(error, "read", path);
  });
  try {
    return JSON.parse(text);
  } catch {
    throw new UserError(`${shownPath(path)} is not valid JSON.`);
  }
}

/** The same; undefined where there is no such file. */
export async function readJsonIfAny(path: string): Promise<unknown> {
  const isThere = await Deno.stat(path).then(() => true, () => false);
  return isThere ? await readJson(path) : undefined;
}
