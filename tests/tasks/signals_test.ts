/** Signals to a process that is inside one long call. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { repeatedWithin } from "../../tasks/signals.ts";
import { busyMs } from "./busy_process.ts";
import { projectRoot } from "./run_task.ts";

// Windows has no signal that a parent could send.
const ignore = Deno.build.os === "windows";

/** A busy process, and what it has printed. */
class Busy {
  stdout = "";
  stderr = "";
  readonly child: Deno.ChildProcess;
  private readonly read: Promise<unknown>;

  constructor(...args: string[]) {
    // No permission but what train has anyway.
    this.child = new Deno.Command("deno", {
      args: ["run", "--allow-read", `${projectRoot}tests/tasks/busy_process.ts`, ...args],
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.read = Promise.all([
      this.collect(this.child.stdout, (text) => void (this.stdout += text)),
      this.collect(this.child.stderr, (text) => void (this.stderr += text)),
    ]);
  }

  private async collect(stream: ReadableStream<Uint8Array>, add: (text: string) => void) {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) add(text);
  }

  /** Milliseconds until a condition holds. */
  async until(condition: () => boolean): Promise<number> {
    const start = performance.now();
    while (!condition()) {
      assert(performance.now() - start < 60_000, `${this.stdout}${this.stderr}`);
      await wait(10);
    }
    return performance.now() - start;
  }

  async ended(): Promise<Deno.CommandStatus> {
    await this.read;
    return await this.child.status;
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

for (
  const [signal, code, again] of [
    ["SIGINT", 130, "Ctrl-C again ends at once"],
    ["SIGTERM", 143, "a second signal ends at once"],
  ] as const
) {
  Deno.test({
    name: `${signal} is answered while the thread is busy, and ends the process by code ${code}`,
    ignore,
    async fn() {
      const busy = new Busy();
      await busy.until(() => busy.stdout.includes("ready"));
      busy.child.kill(signal);
      const ms = await busy.until(() => busy.stdout.includes("Stopping"));
      assert(ms < busyMs / 2, `answered after ${ms} ms`);
      assertStringIncludes(busy.stdout, again);
      // As `deno task` passes on what the terminal has sent already.
      busy.child.kill(signal);
      assertEquals((await busy.ended()).code, code);
      assertStringIncludes(busy.stdout, "ended well");
    },
  });
}

Deno.test({
  name: "a second signal ends the process while its thread is busy",
  ignore,
  async fn() {
    const busy = new Busy();
    await busy.until(() => busy.stdout.includes("ready"));
    busy.child.kill("SIGINT");
    await busy.until(() => busy.stdout.includes("Stopping"));
    await wait(repeatedWithin + 300);
    const start = performance.now();
    busy.child.kill("SIGINT");
    assertEquals((await busy.ended()).signal, "SIGINT");
    assert(performance.now() - start < busyMs / 2, "it was not ended at once");
    assert(!busy.stdout.includes("ended well"));
  },
});

Deno.test({
  name: "where standard output is for programs, the answer is on standard error",
  ignore,
  async fn() {
    const busy = new Busy("--json");
    await busy.until(() => busy.stdout.includes("ready"));
    busy.child.kill("SIGINT");
    await busy.until(() => busy.stderr.includes("Stopping"));
    await busy.ended();
    assertEquals(busy.stdout, "ready\nended well\n");
  },
});
