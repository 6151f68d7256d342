/**
 * A folder of pictures, one folder a class: either under `train/`, `val/` and `test/`, or one tree.
 *
 * Classes are numbered by name, in the order of code points, and within a class files come in the
 * order of their paths, so that the records depend on names alone. In a folder of a class, pictures
 * may lie in folders. Links are followed as long as they stay inside the tree: what lies outside
 * would not be part of what the person named.
 */
import { UserError } from "../errors.ts";
import { ioError, isAbsent, shownPath } from "../io_error.ts";
import {
  byCodePoints,
  enoughClasses,
  listed,
  type Picture,
  type PictureSet,
  type PictureSource,
  shortNameOf,
} from "./picture_set.ts";

/** Endings of pictures, also of kinds that are not read: those are broken, not passed over. */
const pictureNames =
  /\.(png|jpe?g|jpe|jfif|webp|gif|bmp|dib|tiff?|avif|hei[cf]|jxl|jp2|j2k|psd|cr2|cr3|nef|arw|dng)$/i;

/** What systems and editors leave behind; nothing whose name begins with a dot is looked at either. */
const clutter = ["__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN"];

/** The names that the folder of a split may have. */
const splitNames = {
  train: ["train", "training"],
  validation: ["val", "valid", "validation"],
  test: ["test", "testing"],
} as const;

type SplitName = keyof typeof splitNames;

/** What is not taken, by the reason. */
const skips = {
  hidden: "hidden or left by a system",
  named: "no pictures by name",
  outside: "links that lead out of the folder",
  dangling: "links that lead nowhere or in a circle",
  special: "neither files nor folders",
} as const;

interface PictureFile {
  /** From the root, with `/` between its parts. */
  name: string;
  label: number;
  size: number;
  /** Milliseconds since 1970. */
  changed: number;
}

/** The folders in which classes are: one, or one a split. */
interface Layout {
  root: string;
  classNames: string[];
  /** Within the root: `""` for one tree, else such as `train`. */
  splits: { split: SplitName; folder: string; classes: string[] }[];
}

/** Pictures in folders. */
export const imageFolder: PictureSource = {
  what: "a folder of pictures, one folder a class",
  classNames: async (path) => (await layoutOf(path)).classNames,
  open,
};

async function open(
  path: string,
  onProgress?: (found: number) => void,
): Promise<PictureSet> {
  const layout = await layoutOf(path);
  const { root, classNames } = layout;
  const scan = new Scan(root, onProgress);
  const files: Record<SplitName, PictureFile[]> = { train: [], validation: [], test: [] };
  const notices: string[] = [];
  for (const { split, folder, classes } of layout.splits) {
    const { pictures } = await scan.entries(folder);
    if (pictures > 0) {
      notices.push(
        `Skipped in ${
          folder === "" ? path : `${path}/${folder}`
        }: ${pictures} pictures beside the ` +
          `class folders.`,
      );
    }
    for (const [label, name] of classNames.entries()) {
      if (!classes.includes(name)) continue;
      const inside = folder === "" ? name : `${folder}/${name}`;
      const found = await scan.pictures(inside, label);
      if (found.length === 0 && split === "train") {
        throw new UserError(
          `The class folder ${shownPath(`${path}/${inside}`)} holds no pictures; put some in, or ` +
            `remove it.`,
        );
      }
      files[split].push(...found);
    }
    const lacking = missing(classNames, files[split]);
    if (lacking.length > 0) {
      notices.push(
        `${path}/${folder} has no pictures of ${listed(lacking)}; the labels stay as they are.`,
      );
    }
  }
  notices.push(...scan.notices());
  const all = [...files.train, ...files.validation, ...files.test];
  const has = (split: SplitName) => layout.splits.some((each) => each.split === split);
  return {
    name: `folder:${shortNameOf(root)}`,
    shortName: shortNameOf(root),
    classNames,
    counts: {
      train: files.train.length,
      validation: has("validation") ? files.validation.length : undefined,
      test: has("test") ? files.test.length : undefined,
    },
    *lines() {
      yield `folder ${JSON.stringify(root)}`;
      for (const { name, size, changed } of all) yield `${JSON.stringify(name)} ${size} ${changed}`;
    },
    async *read(start, end): AsyncGenerator<Picture> {
      for (const { name, label } of all.slice(start, end)) {
        yield { name, label, path: `${root}/${name}` };
      }
    },
    notices,
  };
}

/** Finds the splits and the classes; looks into folders only as far as it must. */
async function layoutOf(path: string): Promise<Layout> {
  const root = await rootOf(path);
  const scan = new Scan(root);
  const { folders, pictures } = await scan.entries("");
  const named = new Map<SplitName, string>();
  for (const [split, names] of Object.entries(splitNames) as [SplitName, readonly string[]][]) {
    const present = names.filter((name) => folders.includes(name));
    if (present.length > 1) {
      throw new UserError(
        `${shownPath(path)} has both ${present[0]}/ and ${present[1]}/; keep one of them.`,
      );
    }
    if (present.length === 1) named.set(split, present[0]!);
  }
  const others = folders.filter((name) => ![...named.values()].includes(name));
  if (await isSplit(scan, named, others)) {
    const strangers: string[] = [];
    for (const name of others) if (await scan.hasPictures(name)) strangers.push(`${name}/`);
    if (strangers.length > 0) {
      throw new UserError(
        `${shownPath(path)} has ${named.get("train")}/ and also ${
          listed(strangers)
        }, which is no ` +
          `split (val/ or test/); put it into ${
            named.get("train")
          }/ if it is a class, or move it ` +
          `away.`,
      );
    }
    return await splitLayout(path, scan, named);
  }
  if (named.size > 0 && !named.has("train") && others.length === 0) {
    throw new UserError(
      `${shownPath(path)} has ${listed([...named.values()].map((name) => `${name}/`))} but no ` +
        `train/; name the pictures to learn from so.`,
    );
  }
  const classNames = enoughClasses(classesIn(path, { folders, pictures }), path);
  return { root, classNames, splits: [{ split: "train", folder: "", classes: classNames }] };
}

/**
 * Whether the folders are splits. A tree of vehicles may have a class `train`: that holds pictures,
 * or stands beside other classes and no `val` or `test`.
 */
async function isSplit(
  scan: Scan,
  named: Map<SplitName, string>,
  others: string[],
): Promise<boolean> {
  const train = named.get("train");
  if (train === undefined) return false;
  const { folders, pictures } = await scan.entries(train);
  if (folders.length === 0) return others.length === 0;
  if (pictures > 0) return false;
  if (named.size > 1) return true;
  for (const name of others) if (await scan.hasPictures(name)) return false;
  return true;
}

async function splitLayout(
  path: string,
  scan: Scan,
  named: Map<SplitName, string>,
): Promise<Layout> {
  const splits: Layout["splits"] = [];
  let classNames: string[] = [];
  for (const [split, folder] of named) {
    const shown = `${path}/${folder}`;
    const classes = classesIn(shown, await scan.entries(folder));
    if (split === "train") classNames = classes;
    splits.push({ split, folder, classes });
    const stranger = classes.find((name) => !classNames.includes(name));
    if (stranger === undefined) continue;
    const train = `${path}/${named.get("train")}`;
    const twin = classNames.find((name) => plain(name) === plain(stranger));
    throw new UserError(
      twin === undefined
        ? `${shown} has the class ${
          JSON.stringify(stranger)
        }, which ${train} lacks; put pictures ` +
          `of it there, or move it away.`
        : `One class is spelt in two ways: ${JSON.stringify(twin)} in ${train} and ` +
          `${JSON.stringify(stranger)} in ${shown}; rename one of the folders.`,
    );
  }
  return { root: scan.root, classNames: enoughClasses(classNames, path), splits };
}

function classesIn(shown: string, { folders, pictures }: Entries): string[] {
  if (folders.length > 0) return folders;
  throw new UserError(
    pictures > 0
      ? `${shownPath(shown)} has ${pictures} pictures but no class folders; put the pictures of ` +
        `each class into a folder of its name.`
      : `${shownPath(shown)} holds no class folders; name a folder that has one folder a class.`,
  );
}

async function rootOf(path: string): Promise<string> {
  if (path === "") throw new UserError(`folder: needs a path behind it, as in folder:photos.`);
  try {
    const { isDirectory } = await Deno.stat(path);
    if (isDirectory) return (await Deno.realPath(path)).replaceAll("\\", "/").replace(/\/$/, "");
  } catch (error) {
    if (isAbsent(error)) {
      throw new UserError(
        `folder:${shownPath(path)} does not exist; name a folder that has one folder a class.`,
        { cause: error },
      );
    }
    throw ioError(error, "read", path);
  }
  throw new UserError(
    `folder:${shownPath(path)} is a file; name a folder that has one folder a class` +
      `${/\.parquet$/i.test(path) ? `, or say parquet:${path}` : ""}.`,
  );
}

/** What a folder holds, apart from what is skipped. */
interface Entries {
  /** Names, in the order of code points. */
  folders: string[];
  /** How many. */
  pictures: number;
}

interface Found {
  name: string;
  isFolder: boolean;
  /** Where a link leads. */
  target?: string;
}

/** Walks a tree, and counts what it does not take. */
class Scan {
  private readonly skipped = new Map<keyof typeof skips, number>();
  private readonly counted = new Set<string>();
  private found = 0;

  constructor(readonly root: string, private readonly onProgress?: (found: number) => void) {}

  async entries(folder: string): Promise<Entries> {
    const found = await this.list(folder);
    const folders = found.filter(({ isFolder }) => isFolder).map(({ name }) => name);
    return { folders, pictures: found.length - folders.length };
  }

  /** Whether there are pictures at any depth. */
  async hasPictures(folder: string, above: readonly string[] = []): Promise<boolean> {
    for (const { name, isFolder, target } of await this.list(folder, above)) {
      const inside = `${folder}/${name}`;
      if (!isFolder || await this.hasPictures(inside, [...above, target ?? inside])) return true;
    }
    return false;
  }

  /** All pictures of a class, in the order of their paths. */
  async pictures(folder: string, label: number): Promise<PictureFile[]> {
    const names: string[] = [];
    const walk = async (inside: string, above: readonly string[]) => {
      for (const { name, isFolder, target } of await this.list(inside, above)) {
        const path = `${inside}/${name}`;
        if (isFolder) await walk(path, [...above, target ?? `${this.root}/${path}`]);
        else names.push(path);
      }
    };
    await walk(folder, [this.root, `${this.root}/${folder}`]);
    names.sort(byCodePoints);
    const files: PictureFile[] = [];
    // All at once would be as many open requests as there are files.
    for (let start = 0; start < names.length; start += 256) {
      const part = names.slice(start, start + 256).map(async (name) => {
        const info = await Deno.stat(`${this.root}/${name}`).catch((error) => {
          throw ioError(error, "read", `${this.root}/${name}`);
        });
        return { name, label, size: info.size, changed: info.mtime?.getTime() ?? 0 };
      });
      files.push(...await Promise.all(part));
      this.onProgress?.(this.found += part.length);
    }
    return files;
  }

  notices(): string[] {
    const parts = [...this.skipped].filter(([, count]) => count > 0)
      .map(([reason, count]) => `${count} ${skips[reason]}`);
    return parts.length === 0 ? [] : [`Skipped in ${this.root}: ${parts.join(", ")}.`];
  }

  /** @param above the real folders on the way here, in which a link would go round */
  private async list(folder: string, above: readonly string[] = []): Promise<Found[]> {
    const path = folder === "" ? this.root : `${this.root}/${folder}`;
    const isFirst = !this.counted.has(folder);
    this.counted.add(folder);
    const skip = (reason: keyof typeof skips) => {
      if (isFirst) this.skipped.set(reason, (this.skipped.get(reason) ?? 0) + 1);
    };
    let entries: Deno.DirEntry[];
    try {
      entries = await Array.fromAsync(Deno.readDir(path));
    } catch (error) {
      throw ioError(error, "read", path);
    }
    const found: Found[] = [];
    for (const entry of entries) {
      const { name } = entry;
      if (name.startsWith(".") || clutter.includes(name)) {
        skip("hidden");
        continue;
      }
      let kind: Pick<Deno.DirEntry, "isFile" | "isDirectory"> = entry;
      let target: string | undefined;
      if (entry.isSymlink) {
        const link = await this.follow(`${path}/${name}`, above);
        if (typeof link === "string") {
          skip(link);
          continue;
        }
        ({ kind, target } = link);
      }
      if (kind.isDirectory) found.push({ name, isFolder: true, target });
      else if (!kind.isFile) skip("special");
      else if (pictureNames.test(name)) found.push({ name, isFolder: false });
      else skip("named");
    }
    return found.sort((a, b) => byCodePoints(a.name, b.name));
  }

  private async follow(
    path: string,
    above: readonly string[],
  ): Promise<"outside" | "dangling" | { kind: Deno.FileInfo; target: string }> {
    try {
      const target = (await Deno.realPath(path)).replaceAll("\\", "/");
      if (!target.startsWith(`${this.root}/`)) {
        return target === this.root ? "dangling" : "outside";
      }
      if (above.some((folder) => folder === target || folder.startsWith(`${target}/`))) {
        return "dangling";
      }
      return { kind: await Deno.stat(path), target };
    } catch (error) {
      if (isAbsent(error) || error instanceof Deno.errors.FilesystemLoop) return "dangling";
      throw ioError(error, "read", path);
    }
  }
}

function missing(classNames: readonly string[], files: readonly PictureFile[]): string[] {
  const present = new Set(files.map(({ label }) => label));
  return classNames.filter((_, label) => !present.has(label));
}

/** What people take for the same name. */
function plain(name: string): string {
  return name.normalize("NFKC").toLowerCase().replace(/[\s_-]+/g, " ").trim();
}
