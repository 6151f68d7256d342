/** Lines on standard output, the last of which may renew itself where that is a terminal. */

/** Where lines go. */
export interface Screen {
  /** Whether lines can be renewed. */
  isTerminal: boolean;
  /** Characters in a line of the terminal, asked anew for each. */
  columns(): number;
  /** Prints text as it is. */
  write(text: string): void;
  /** Prints a line for people where `write` prints for programs. */
  writeError(line: string): void;
}

/** Milliseconds between two lines of progress, on a terminal and elsewhere. */
const intervals = { terminal: 100, plain: 30_000 };

/** Prints lines so that none runs into another. */
export class Lines {
  /** Whether an unfinished line stands on the terminal. */
  private isOpen = false;
  private progressAt = -Infinity;

  /**
   * @param json whether only JSON may be printed: then people read standard error, and no progress
   * @param now milliseconds of a clock that never goes back
   * @param isQuiet whether only results and notices are printed, these on standard error
   */
  constructor(
    private readonly screen: Screen,
    readonly json: boolean,
    readonly now: () => number = () => performance.now(),
    private readonly isQuiet = false,
  ) {}

  /** Whether lines can be renewed. */
  get isTerminal(): boolean {
    return this.screen.isTerminal;
  }

  /** Characters that a line may have; a full last column would wrap on some terminals. */
  get width(): number {
    return this.screen.isTerminal ? this.screen.columns() - 1 : Infinity;
  }

  /** Prints a line that stays, in place of an unfinished one. */
  say(line: string): void {
    const start = this.isOpen ? "\r\x1b[2K" : "";
    this.isOpen = false;
    this.screen.write(`${start}${line}\n`);
  }

  /** Prints a line that stays, unless only results are wanted. */
  remark(line: string): void {
    if (!this.json && !this.isQuiet) this.say(line);
  }

  /** Prints what a person should read, apart from JSON. */
  notice(text: string): void {
    if (this.json || this.isQuiet) this.screen.writeError(text);
    else this.say(text);
  }

  /** Prints on standard error, where an unfinished line would stand before it on a terminal. */
  error(text: string): void {
    if (this.isOpen) this.screen.write("\r\x1b[2K");
    this.isOpen = false;
    this.screen.writeError(text);
  }

  /** Whether it is time for a line of progress. */
  get isProgressDue(): boolean {
    const { terminal, plain } = intervals;
    return this.now() - this.progressAt >= (this.screen.isTerminal ? terminal : plain);
  }

  /** Prints a line that the next one replaces on a terminal. */
  progress(text: string): void {
    if (this.json || this.isQuiet) return;
    this.progressAt = this.now();
    if (!this.screen.isTerminal) return this.say(text);
    this.screen.write(`\r\x1b[2K${text.slice(0, this.width)}`);
    this.isOpen = true;
  }

  /** Prints how far an evaluation is, on a terminal alone. */
  evaluation(what: string, done: number, count: number): void {
    if (this.screen.isTerminal && this.isProgressDue) this.progress(`${what} ${done}/${count}`);
  }
}
