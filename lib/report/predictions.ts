/** What images were taken for, as lines for people and for programs; pure functions. */
import { printable } from "../shown.ts";
import { percent } from "./summary.ts";

/** One guess. */
export interface Guess {
  readonly className: string;
  /** 0 to 1. */
  readonly probability: number;
}

/** How predictions are printed. */
export interface PredictionFormat {
  /** What stands above all; null for nothing. */
  readonly head: string | null;
  /** The lines of one image, from its file and its guesses, the likeliest first. */
  lines(file: string, guesses: readonly Guess[]): string[];
}

/** The file, and a line for each guess. */
export const blocks: PredictionFormat = {
  head: null,
  lines: (file, guesses) => [
    printable(file, Infinity),
    ...guesses.map(({ className, probability }) =>
      `  ${percent(probability).padStart(8)}  ${printable(className)}`
    ),
  ],
};

/** A line for each image: its guesses side by side, and the file. */
export function table(classNames: readonly string[]): PredictionFormat {
  const width = Math.max(...classNames.map((name) => printable(name).length));
  return {
    head: null,
    lines: (file, guesses) => {
      const cells = guesses.map(({ className, probability }) =>
        `${percent(probability).padStart(8)}  ${printable(className).padEnd(width)}`
      );
      return [[...cells, printable(file, Infinity)].join("  ")];
    },
  };
}

/** Comma-separated values (RFC 4180, with plain line feeds), a line for each guess. */
export const csv: PredictionFormat = {
  head: "image,rank,class,probability",
  lines: (file, guesses) =>
    guesses.map(({ className, probability }, i) =>
      [field(file), i + 1, field(className), probability].join(",")
    ),
};

/** An object for each image. */
export const json: PredictionFormat = {
  head: null,
  lines: (image, predictions) => [JSON.stringify({ image, predictions })],
};

function field(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
