/** A process of trainer.ts, as the tests see it. */
import type { TrainerArguments } from "./trainer.ts";

/** What a trainer has told so far. */
export interface TrainerProcess {
  /** Lines of its errors, when it has ended. */
  errors: Promise<string>;
  /** The step that it began at; -1 before it is known. */
  from: number;
  /** Its newest step. */
  step: number;
  /** The newest step whose state it has reported as saved. */
  saved: number;
  /** How many states it has reported. */
  saves: number;
  /** Whether it came to its end. */
  isDone: boolean;
  notices: string[];
  kill(): void;
  /** Waits until a condition holds or the trainer ends. */
  until(condition: () => boolean): Promise<void>;
  /** Waits for its end, and for the last of its lines. */
  ended(): Promise<Deno.CommandStatus>;
}

/** Starts a trainer. */
export function startTrainer(args: TrainerArguments): TrainerProcess {
  const child = new Deno.Command("deno", {
    args: [
      "run",
      "-A",
      "--no-check",
      new URL("trainer.ts", import.meta.url).pathname,
      JSON.stringify(args),
    ],
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: Deno.env.get("XDG_RUNTIME_DIR") ?? "/tmp" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let told = Promise.withResolvers<void>();
  let isOver = false;
  const trainer: TrainerProcess = {
    errors: new Response(child.stderr).text(),
    ...{ from: -1, step: -1, saved: -1, saves: 0, isDone: false, notices: [] },
    kill: () => {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended by itself.
      }
    },
    until: async (condition) => {
      while (!condition() && !isOver) await told.promise;
    },
    ended: async () => {
      await reading;
      return await child.status;
    },
  };
  const hear = (line: string) => {
    const cut = line.indexOf(" ");
    const [what, value] = [line.slice(0, cut), line.slice(cut + 1)];
    if (what === "from") trainer.from = Number(value);
    else if (what === "step") trainer.step = Number(value);
    else if (what === "saved") [trainer.saved, trainer.saves] = [Number(value), trainer.saves + 1];
    else if (what === "done") trainer.isDone = true;
    else if (what === "notice") trainer.notices.push(value);
  };
  const reading = (async () => {
    let rest = "";
    const lines: string[] = [];
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      lines.push(...(rest + text).split("\n"));
      // What follows the last line feed is not told whole.
      rest = lines.pop()!;
      for (const line of lines.splice(0)) hear(line);
      told.resolve();
      told = Promise.withResolvers();
    }
    isOver = true;
    told.resolve();
  })();
  return trainer;
}
