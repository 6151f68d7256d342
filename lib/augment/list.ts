/**
 * Lists of augmentations as text, `flip|crop(4)`, in the manner of big_vision's preprocessing
 * strings: names of the table, in the order in which they change the picture, each with its numbers.
 */
import { UserError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import { shown } from "../shown.ts";
import { type Augmentation, kinds, type Parameter } from "./augmentation.ts";
import { type Listed, ofKind } from "./listed.ts";
import { probabilitiesOf } from "./mixing.ts";
import { augmentations } from "./table.ts";

/** The list without an augmentation. */
export const NONE = "none";

/** The fields of a configuration that decide how training images are varied. */
export interface Augmented {
  /** The list; empty where the three of release 0.1.0 stand instead of it. */
  augment: string;
  flip: boolean;
  rotation: number;
  zoom: number;
}

/** The list of a configuration as text. */
export function augmentTextOf({ augment, flip, rotation, zoom }: Augmented): string {
  if (augment !== "") return augment;
  const listed = [
    ...(flip ? ["flip"] : []),
    ...(rotation > 0 ? [`rotation(${rotation})`] : []),
    ...(zoom > 0 ? [`zoom(${zoom})`] : []),
  ];
  return listed.join("|") || NONE;
}

/** What was asked for last: every training step asks for the same list. */
let last: Augmented & { listed: readonly Listed[] } | undefined;

/** The augmentations of a configuration. */
export function augmentationsOf({ augment, flip, rotation, zoom }: Augmented): readonly Listed[] {
  const isLast = last?.augment === augment && last.flip === flip && last.rotation === rotation &&
    last.zoom === zoom;
  if (!isLast) {
    const listed = parseAugmentations(augmentTextOf({ augment, flip, rotation, zoom }));
    last = { augment, flip, rotation, zoom, listed };
  }
  return last!.listed;
}

const WORD = /^\s*([^()\s]+)\s*(?:\(([^()]*)\))?\s*$/;

/**
 * The augmentations of a list.
 * @throws {UserError} naming the first word that is wrong, and what it may be.
 */
export function parseAugmentations(text: string): Listed[] {
  if (text.trim() === NONE) return [];
  const names = new Set<string>();
  const listed = text.split("|").map((word): Listed => {
    const [, name, brackets] = WORD.exec(word) ?? [];
    const augmentation: Augmentation = name !== undefined && Object.hasOwn(augmentations, name)
      ? augmentations[name as keyof typeof augmentations]
      : unknown(word, name ?? word);
    if (names.has(name!)) {
      throw new UserError(`The augmentation ${name} stands twice in the list; leave one out.`);
    }
    names.add(name!);
    return {
      name: name!,
      augmentation,
      values: valuesOf(name!, brackets, augmentation.parameters),
    };
  });
  assertOrder(listed);
  probabilitiesOf(ofKind(listed, "mix"));
  return listed;
}

/** Asserts that the kinds stand in the order in which they change a batch. */
function assertOrder(listed: readonly Listed[]): void {
  const order = Object.keys(kinds);
  listed.slice(1).forEach(({ name, augmentation: { kind } }, i) => {
    const before = listed[i]!;
    if (order.indexOf(before.augmentation.kind) <= order.indexOf(kind)) return;
    throw new UserError(
      `The augmentation ${name} cannot stand behind ${before.name}: what ${kinds[kind]} comes ` +
        `before what ${kinds[before.augmentation.kind]}.`,
    );
  });
}

function unknown(word: string, name: string): never {
  const known = Object.keys(augmentations);
  const near = nearest(name, known);
  throw new UserError(
    `There is no augmentation ${shown(word.trim())}` +
      (near ? `; did you mean "${near}"?` : ".") +
      ` A list is like "flip|crop(4)" or "${NONE}", of ${known.join(", ")}.`,
  );
}

function valuesOf(
  name: string,
  brackets: string | undefined,
  parameters: readonly Parameter[],
): number[] {
  const texts = (brackets ?? "").trim() === "" ? [] : brackets!.split(",");
  const most = parameters.length;
  const least = parameters.filter(({ optional }) => !optional).length;
  if (texts.length < least || texts.length > most) {
    const wanted = most === 0
      ? "no numbers"
      : `${least < most ? `${least} to ` : ""}${most} ${most === 1 ? "number" : "numbers"}: ` +
        `${name}(${parameters.map((parameter) => parameter.name).join(", ")})`;
    throw new UserError(`The augmentation ${name} takes ${wanted}; ${texts.length} are given.`);
  }
  return texts.map((text, i) => {
    const { name: meaning, min, max, whole } = parameters[i]!;
    const value = text.trim() === "" ? NaN : Number(text);
    if (value >= min && value <= max && (!whole || Number.isInteger(value))) return value;
    throw new UserError(
      `The augmentation ${name}(${shown(text.trim())}) cannot be: its ${meaning} must be ` +
        `a ${whole ? "whole " : ""}number from ${min} to ${max}.`,
    );
  });
}
