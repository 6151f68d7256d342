/** Tiles of matrix products and forms of kernels that were measured, in a file. */
import { currentGpu, type Gpu } from "../backend/device.ts";
import { readSmallText, writeFileAtomic } from "../files.ts";
import { ioError } from "../io_error.ts";
import { isForm, measuredForms } from "./forms.ts";
import { hasSubgroupsOf8, measuredTiles, type TileName, tiles } from "./matmul/tiles.ts";

/** Tiles and forms by the names of shapes, by what they were measured on. */
type TuningFile = Record<string, Record<string, string>>;

/** Facts that the choices depend on: the adapter, who drives it, and our kernels. */
function identityOf({ description, info }: Gpu, version: string): string {
  const { vendor, architecture, device } = info;
  return [description, vendor, architecture, device, `Deno ${Deno.version.deno}`, version]
    .filter((part) => part !== "").join(" | ");
}

/**
 * Takes over the measured tiles and forms that a file has for the current adapter. A file that is
 * missing, broken or made by others counts as empty.
 *
 * @param version This project's version.
 * @returns How many shapes have a choice from the file.
 */
export async function loadTuning(path: string, version: string): Promise<number> {
  const gpu = currentGpu();
  if (!gpu) return 0;
  const subgroups = hasSubgroupsOf8();
  let count = 0;
  for (
    const [key, name] of Object.entries((await readFile(path))[identityOf(gpu, version)] ?? {})
  ) {
    if (isForm(name)) {
      measuredForms.set(key, name);
      count++;
      continue;
    }
    if (!Object.hasOwn(tiles, name)) continue;
    if (tiles[name as TileName].kind === "subgroup" && !subgroups) continue;
    measuredTiles.set(key, name as TileName);
    count++;
  }
  return count;
}

/**
 * Writes the measured tiles and forms of the current adapter; those of other adapters in the file stay.
 *
 * @param version This project's version.
 * @throws {UserError} when the file cannot be written.
 */
export async function saveTuning(path: string, version: string): Promise<void> {
  const gpu = currentGpu();
  if (!gpu) return;
  const content = await readFile(path);
  content[identityOf(gpu, version)] = Object.fromEntries(
    [...measuredTiles, ...measuredForms].sort(),
  );
  const folder = path.replace(/[^/\\]*$/, "");
  if (folder !== "") {
    await Deno.mkdir(folder, { recursive: true }).catch((error) => {
      throw ioError(error, "make", folder);
    });
  }
  // Two processes may save at once, and a reader must never see half a file.
  await writeFileAtomic(path, [new TextEncoder().encode(JSON.stringify(content, null, 2) + "\n")]);
}

async function readFile(path: string): Promise<TuningFile> {
  let content: unknown;
  try {
    content = JSON.parse(await readSmallText(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return {};
    throw error;
  }
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject(content)) return {};
  const isTileMap = (value: unknown): value is Record<string, string> =>
    isObject(value) && Object.values(value).every((name) => typeof name === "string");
  return Object.fromEntries(
    Object.entries(content).filter((entry): entry is [string, Record<string, string>] =>
      isTileMap(entry[1])
    ),
  );
}
