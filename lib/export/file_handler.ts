/**
 * tfjs models in folders: `model.json` and its weights in shards of 4 MB, the layout of tfjs's own
 * converter, read and written with Deno's file system.
 *
 * Importing this file makes `model.save("file:///…/folder")` and
 * `tf.loadLayersModel("file:///…/folder/model.json")` work in Deno. What is loaded may come from
 * anywhere: paths that lead out of the folder and lengths that do not fit are refused before the
 * weights are read.
 */
import { z } from "../deps.ts";
import { UserError } from "../errors.ts";
import { tf } from "../tfjs.ts";
import { kindOf, notRegular, readBoundedFile, readFolder, writeFileAtomic } from "../files.ts";
import { ioError } from "../io_error.ts";

const shardBytes = 4 * 1024 * 1024;
const maxJsonBytes = 16 * 1024 * 1024;
const scheme = "file://";
const modelFile = "model.json";
const shardName = /^group1-shard\d+of\d+\.bin$/;

const bytesOfDtype = {
  float32: 4,
  int32: 4,
  bool: 1,
  complex64: 8,
  float16: 2,
  uint16: 2,
  uint8: 1,
} as const;

const weightSchema = z.looseObject({
  name: z.string(),
  shape: z.array(z.int().min(0)),
  dtype: z.enum(["float32", "int32", "bool", "complex64"]),
  quantization: z.looseObject({ dtype: z.enum(["float16", "uint16", "uint8"]) }).optional(),
});
const groupSchema = z.looseObject({ paths: z.array(z.string()), weights: z.array(weightSchema) });
const modelSchema = z.looseObject({
  modelTopology: z.looseObject({}),
  weightsManifest: z.array(groupSchema).optional(),
});
type Manifest = z.infer<typeof groupSchema>[];

/**
 * Saves to a folder and loads from it.
 *
 * A folder that has a `model.json` holds a whole model: saving removes the old one first and writes
 * the new one last.
 *
 * @param path the model's folder, a path or a `file:` URL; for loading, its `model.json` will do
 *
 * @example
 * ```ts
 * import { createViTClassifier, modelConfigOf, preset, selectBackend, tf } from "../../mod.ts";
 * import { fileHandler } from "./file_handler.ts";
 *
 * await selectBackend("auto");
 * const model = createViTClassifier(modelConfigOf(preset("tiny")));
 * const folder = await Deno.makeTempDir();
 * await model.save(fileHandler(folder));
 * const same = await tf.loadLayersModel(fileHandler(folder));
 * same.summary();
 * ```
 */
export function fileHandler(path: string | URL): tf.io.IOHandler {
  const text = String(path);
  const place = text.startsWith(scheme) ? pathOfUrl(text) : text;
  return { save: (artifacts) => save(place, artifacts), load: () => load(place) };
}

/** Contents of files by name. */
export type ModelFiles = Map<string, Uint8Array<ArrayBuffer>>;

/** `model.json` comes last. */
function modelFiles(artifacts: tf.io.ModelArtifacts): ModelFiles {
  if (!artifacts.modelTopology || artifacts.modelTopology instanceof ArrayBuffer) {
    throw new TypeError("Only models whose topology is JSON can be saved to a folder");
  }
  const { weightData, weightSpecs: weights = [], getWeightStream: _, ...described } = artifacts;
  const data = tf.io.concatenateArrayBuffers(weightData ?? []);
  const count = Math.ceil(data.byteLength / shardBytes);
  const paths = Array.from({ length: count }, (_, i) => `group1-shard${i + 1}of${count}.bin`);
  const weightsManifest = weights.length > 0 ? [{ paths, weights }] : [];
  const files = new Map(paths.map((path, i) => {
    const begin = i * shardBytes;
    const length = Math.min(shardBytes, data.byteLength - begin);
    return [path, new Uint8Array(data, begin, length)];
  }));
  const text = new TextEncoder().encode(JSON.stringify({ ...described, weightsManifest }));
  return files.set(modelFile, text);
}

/** The files of a model by name, as {@linkcode fileHandler} would write them. */
export async function filesOf(model: tf.LayersModel): Promise<ModelFiles> {
  let files: ModelFiles | undefined;
  await model.save(tf.io.withSaveHandler((artifacts) => {
    files = modelFiles(artifacts);
    return Promise.resolve({ modelArtifactsInfo: tf.io.getModelArtifactsInfoForJSON(artifacts) });
  }));
  return files!;
}

async function save(folder: string, artifacts: tf.io.ModelArtifacts): Promise<tf.io.SaveResult> {
  const files = modelFiles(artifacts);
  try {
    await Deno.mkdir(folder, { recursive: true });
    await removeOldModel(folder);
  } catch (error) {
    throw ioError(error, "write", folder);
  }
  for (const [name, bytes] of files) await writeFileAtomic(`${folder}/${name}`, [bytes]);
  return { modelArtifactsInfo: tf.io.getModelArtifactsInfoForJSON(artifacts) };
}

async function removeOldModel(folder: string): Promise<void> {
  const names = (await readFolder(folder)).map(({ name }) => name);
  if (names.includes(modelFile)) await Deno.remove(`${folder}/${modelFile}`);
  for (const name of names) if (shardName.test(name)) await Deno.remove(`${folder}/${name}`);
}

async function load(place: string): Promise<tf.io.ModelArtifacts> {
  const path = await jsonPath(place);
  const model = parseModel(await readText(path), path);
  const manifest = model.weightsManifest ?? [];
  checkManifest(manifest, path);
  const shards = await findShards(manifest, path);
  const buffers: ArrayBuffer[] = [];
  for (const { path: shard, bytes } of shards) {
    const data = await readBoundedFile(shard, bytes, "this shard");
    if (data.length !== bytes) throw invalid(path, `${shard} changed while it was read`);
    buffers.push(data.buffer);
  }
  const specs = manifest.flatMap(({ weights }) => weights) as tf.io.WeightsManifestEntry[];
  return tf.io.getModelArtifactsForJSON(
    model as unknown as tf.io.ModelJSON,
    () => Promise.resolve([specs, buffers]),
  );
}

async function jsonPath(place: string): Promise<string> {
  const { isDirectory } = await stat(place);
  return isDirectory ? `${place.replace(/(?<=.)\/+$/, "")}/${modelFile}` : place;
}

/** @param named what an error names */
function realPath(path: string, named: string): Promise<string> {
  return Deno.realPath(path).catch((error) => {
    throw ioError(error, "read", named);
  });
}

function stat(path: string): Promise<Deno.FileInfo> {
  return Deno.stat(path).catch((error) => {
    throw ioError(error, "read", path);
  });
}

async function readText(path: string): Promise<string> {
  return new TextDecoder().decode(await readBoundedFile(path, maxJsonBytes, "a model.json"));
}

function parseModel(text: string, path: string): z.infer<typeof modelSchema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid(path, "it is not valid JSON");
  }
  const result = modelSchema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw invalid(path, `its ${issue.path.join(".") || "content"} is wrong: ${issue.message}`);
}

/** Names that come twice, and paths that could lead out of the folder or mean another thing. */
function checkManifest(manifest: Manifest, source: string): void {
  const names = new Set<string>();
  const paths = new Set<string>();
  for (const group of manifest) {
    for (const { name } of group.weights) {
      if (names.has(name)) throw invalid(source, `the weight ${shown(name)} comes twice`);
      names.add(name);
    }
    for (const path of group.paths) {
      if (!isPlainPath(path)) {
        throw invalid(source, `the weight path ${shown(path)} is not a plain path in its folder`);
      }
      if (paths.has(path)) throw invalid(source, `the weight path ${shown(path)} comes twice`);
      paths.add(path);
    }
  }
}

function isPlainPath(path: string): boolean {
  // deno-lint-ignore no-control-regex -- a NUL or a line feed in a path is what this looks for
  if (/[\\:\x00-\x1f]/.test(path)) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

/** Places of the shards, and their lengths, once each group's sum fits its weights. */
async function findShards(
  manifest: Manifest,
  source: string,
): Promise<{ path: string; bytes: number }[]> {
  const cut = Math.max(source.lastIndexOf("/"), source.lastIndexOf("\\"));
  const folder = cut < 0 ? "." : source.slice(0, cut + 1);
  const separator = Deno.build.os === "windows" ? "\\" : "/";
  const root = (await realPath(folder, folder)).replace(/(?<![\\/])$/, separator);
  const shards: { path: string; bytes: number }[] = [];
  for (const { paths, weights } of manifest) {
    let found = 0;
    for (const relative of paths) {
      const path = await realPath(root + relative, `${folder}/${relative}`.replace(/\/+/g, "/"));
      if (!path.startsWith(root)) {
        throw invalid(source, `${shown(relative)} is a link that leads out of its folder`);
      }
      const info = await stat(path);
      if (!info.isFile) throw notRegular(path, kindOf(info));
      shards.push({ path, bytes: info.size });
      found += info.size;
    }
    const needed = weights.reduce((sum, weight) => sum + weightBytes(weight), 0);
    if (found !== needed) {
      throw invalid(source, `its weights take ${needed} bytes, but their files hold ${found}`);
    }
  }
  return shards;
}

/** Infinity or NaN where a shape is absurd, which no file's length equals. */
function weightBytes({ shape, dtype, quantization }: z.infer<typeof weightSchema>): number {
  return shape.reduce((a, b) => a * b, 1) * bytesOfDtype[quantization?.dtype ?? dtype];
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

function invalid(path: string, fault: string): UserError {
  return new UserError(`${path} is not a model that can be loaded: ${fault}.`);
}

/**
 * `file:///a%20b` is the path `/a b`; `file://a` is relative and taken as it is, as in tfjs-node.
 */
function pathOfUrl(url: string): string {
  if (!url.startsWith("file:///")) return url.slice(scheme.length);
  const path = decodeURIComponent(new URL(url).pathname);
  return Deno.build.os === "windows" ? path.replace(/^\/(?=[A-Za-z]:)/, "") : path;
}

// tfjs refuses a URL that two handlers claim, which a second copy of this module would bring about.
if (typeof Deno !== "undefined" && tf.io.getLoadHandlers(`${scheme}/`).length === 0) {
  const router = (url: string | string[]) =>
    typeof url === "string" && url.startsWith(scheme) ? fileHandler(url) : null!;
  tf.io.registerSaveRouter(router);
  tf.io.registerLoadRouter(router);
}
