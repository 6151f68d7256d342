/** A terminal that remembers what was printed, and a clock that a test sets. */
import { Lines, type Screen } from "../../tasks/lines.ts";

/** What a test looks at. */
export class FakeScreen implements Screen {
  text = "";
  errors = "";
  time = 0;

  constructor(readonly isTerminal: boolean, private readonly width = 80) {}

  columns(): number {
    return this.width;
  }

  write(text: string): void {
    this.text += text;
  }

  writeError(line: string): void {
    this.errors += `${line}\n`;
  }

  lines(json = false, isQuiet = false): Lines {
    return new Lines(this, json, () => this.time, isQuiet);
  }

  /** What stands on the terminal: a carriage return and an erasure begin a line anew. */
  shown(): string {
    return this.text.split("\n").map((line) => line.split("\r\x1b[2K").at(-1)!).join("\n");
  }
}
