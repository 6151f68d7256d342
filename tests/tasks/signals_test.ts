import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { projectRoot } from "./run_task.ts";

const program = fromFileUrl(new URL("./signals_process.ts", import.meta.url));
// Windows has no signal that a parent could send.
const ignore = Deno.build.os === "windows";

/** Starts a busy process with no permission but reading, as none is needed. */
function busy(seconds: number, stream: "stdout" | "stderr" = "stdout"): Deno.ChildProcess {
  return new Deno.Command("deno", {
    args: ["run", "--no-prompt", "--allow-read", program, String(seconds), stream],
    cwd: projectRoot,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Reads until a text has come; gives what was read. */
async function until(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  text: string,
): Promise<string> {
  let read = "";
  while (!read.includes(text)) {
    const { value, done } = await reader.read();
    assert(!done, `ended after "${read}"`);
    read += new TextDecoder().decode(value);
  }
  return read;
}

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test({
    name: `${signal} is answered while the thread is busy, which then hears of it; code ${code}`,
    ignore,
    async fn() {
      await using child = busy(4);
      const output = child.stdout.getReader();
      await until(output, "busy");
      const sent = performance.now();
      child.kill(signal);
      await until(output, "Stopping after this batch");
      const answered = performance.now() - sent;
      assert(answered < 2000, `answered after ${answered} ms`);
      await until(output, `aborted true, code ${code}`);
      assertEquals((await child.status).code, code);
      await Promise.all([output.cancel(), child.stderr.cancel()]);
    },
  });
}

Deno.test({
  name: "a second signal ends a busy process at once; one passed on by deno task does not count",
  ignore,
  async fn() {
    await using child = busy(60);
    const output = child.stdout.getReader();
    await until(output, "busy");
    child.kill("SIGINT");
    await until(output, "Stopping after this batch");
    child.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 1200));
    child.kill("SIGINT");
    assertEquals((await child.status).signal, "SIGINT");
    await Promise.all([output.cancel(), child.stderr.cancel()]);
  },
});

Deno.test({
  name: "the answer goes to standard error where standard output is for a program",
  ignore,
  async fn() {
    await using child = busy(3, "stderr");
    const [output, errors] = [child.stdout.getReader(), child.stderr.getReader()];
    await until(output, "busy");
    child.kill("SIGINT");
    await until(errors, "Stopping after this batch");
    assertEquals(await until(output, "code"), "aborted true, code 130\n");
    await child.status;
    await Promise.all([output.cancel(), errors.cancel()]);
  },
});

Deno.test("without a signal the process ends by itself, with 0", async () => {
  const { code, stdout } = await busy(0).output();
  assertEquals([code, new TextDecoder().decode(stdout)], [0, "busy\naborted false, code 0\n"]);
});
