/** What a kind of picture source (a folder, Parquet files) gives: pictures with classes, not yet read. */
import { UserError } from "../errors.ts";
import { shownPath } from "../io_error.ts";
import { shown } from "../shown.ts";
import type { PictureForm } from "./image/fit.ts";

/** How many pictures each split has where the source says it; a split that is left out is drawn. */
export interface SplitCounts {
  train: number;
  validation?: number;
  test?: number;
}

/** One encoded picture. */
export interface Picture {
  /** As errors and lists name it: its path within the source. */
  name: string;
  /** Its class. */
  label: number;
  /** Where it lies; undefined where `bytes` holds it. */
  path?: string;
  /** The encoded file. */
  bytes?: Uint8Array<ArrayBuffer>;
}

/** Pictures of classes, none of them read so far. In order: train, then validation, then test. */
export interface PictureSet {
  /** For a person, such as `folder:photos`. */
  name: string;
  /** Of the folder that holds what is prepared: letters, digits, dots and dashes. */
  shortName: string;
  /** The name of each class, by label. */
  classNames: string[];
  counts: SplitCounts;
  /**
   * A line a picture that changes with it (path, bytes, time of change), and what else decides which
   * pictures there are: what is prepared is known by these lines.
   */
  lines(): Iterable<string>;
  /** The pictures from `start` (inclusive) to `end` (exclusive), in order. */
  read(start: number, end: number): AsyncIterable<Picture>;
  /** What a person should know of, a sentence each. */
  notices: string[];
}

/** A kind of source, as the table has it. */
export interface PictureSource {
  /** What follows the colon, for help texts and errors. */
  what: string;
  /**
   * The names of the classes, without looking at every picture.
   * @throws {UserError} if there are none.
   */
  classNames(path: string): Promise<string[]>;
  /**
   * @param onProgress told how many pictures are found so far
   * @throws {UserError} if the path holds no pictures in classes.
   */
  open(path: string, onProgress?: (found: number) => void): Promise<PictureSet>;
}

/** How pictures become records of one size. */
export interface StoredForm extends PictureForm {
  /** Side of the square that is stored, in pixels. */
  size: number;
}

/** A path's last part, as a part of another file's name. */
export function shortNameOf(path: string): string {
  const last = path.split(/[/\\]/).filter((part) => part !== "" && part !== ".").at(-1) ?? "";
  return last.replace(/[^\w.-]+/g, "-").replace(/^[.-]+/, "").slice(0, 40) || "pictures";
}

/** Compares by code points, which is the order of bytes in UTF-8; `<` compares UTF-16. */
export function byCodePoints(a: string, b: string): number {
  const left = a[Symbol.iterator]();
  const right = b[Symbol.iterator]();
  while (true) {
    const x = left.next();
    const y = right.next();
    if (x.done || y.done) return Number(!x.done) - Number(!y.done);
    const difference = x.value.codePointAt(0)! - y.value.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
}

/**
 * The same names, if they are enough.
 * @throws {UserError} if there are fewer than two.
 */
export function enoughClasses(classNames: string[], path: string): string[] {
  if (classNames.length > 1) return classNames;
  throw new UserError(
    `${shownPath(path)} has only one class${classNames.map((name) => `, ${shown(name)}`)}; a ` +
      `classifier needs two or more.`,
  );
}

/** At most so many names, and how many more there are. */
export function listed(names: readonly string[], most = 5): string {
  const shown = names.slice(0, most).join(", ");
  return names.length <= most ? shown : `${shown} and ${names.length - most} more`;
}
