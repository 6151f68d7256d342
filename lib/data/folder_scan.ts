/** Walking a tree of pictures: what is one, what is passed over, and which links are followed. */
import { ioError, isAbsent } from "../io_error.ts";
import { byCodePoints } from "./picture_set.ts";

/** Endings of pictures, also of kinds that are not read: those are broken, not passed over. */
const pictureNames =
  /\.(png|jpe?g|jpe|jfif|webp|gif|bmp|dib|tiff?|avif|hei[cf]|jxl|jp2|j2k|psd|cr2|cr3|nef|arw|dng)$/i;

/** What systems and editors leave behind; nothing whose name begins with a dot is looked at either. */
const clutter = ["__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN"];

/** What is not taken, by the reason. */
const skips = {
  hidden: "hidden or left by a system",
  named: "no pictures by name",
  outside: "links that lead out of the folder",
  dangling: "links that lead nowhere or in a circle",
  special: "neither files nor folders",
} as const;

/** A picture of a class. */
export interface PictureFile {
  /** From the root, with `/` between its parts. */
  name: string;
  label: number;
  size: number;
  /** Milliseconds since 1970. */
  changed: number;
}

/** What a folder holds, apart from what is skipped. */
export interface Entries {
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
export class FolderScan {
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
      const next = [...above, target ?? `${this.root}/${inside}`];
      if (!isFolder || await this.hasPictures(inside, next)) return true;
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
