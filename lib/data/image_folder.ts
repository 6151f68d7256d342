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
import { type Entries, FolderScan, type PictureFile } from "./folder_scan.ts";
import {
  enoughClasses,
  listed,
  type Picture,
  type PictureSet,
  type PictureSource,
  shortNameOf,
} from "./picture_set.ts";

/** The names that the folder of a split may have. */
const splitNames = {
  train: ["train", "training"],
  validation: ["val", "valid", "validation"],
  test: ["test", "testing"],
} as const;

type SplitName = keyof typeof splitNames;

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
  const scan = new FolderScan(root, onProgress);
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
  const scan = new FolderScan(root);
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
  scan: FolderScan,
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
  scan: FolderScan,
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

function missing(classNames: readonly string[], files: readonly PictureFile[]): string[] {
  const present = new Set(files.map(({ label }) => label));
  return classNames.filter((_, label) => !present.has(label));
}

/** What people take for the same name. */
function plain(name: string): string {
  return name.normalize("NFKC").toLowerCase().replace(/[\s_-]+/g, " ").trim();
}
