/** Tasks that pages are looked at with. */
import { projectRoot } from "../tasks/run_task.ts";

/** A task without the process of `deno task` before it, so that it can be killed. */
export function started(task: string, args: string[], folder: string): Deno.ChildProcess {
  const flags = ["--allow-read", `--allow-write=${folder},data,.cache`, "--allow-net=127.0.0.1"];
  return new Deno.Command("deno", {
    args: ["run", ...flags, "--allow-env=XDG_RUNTIME_DIR", `tasks/${task}.ts`, ...args],
    cwd: projectRoot,
    env: { NO_COLOR: "1" },
    ...{ stdin: "null", stdout: "null", stderr: "inherit" },
  }).spawn();
}

/** A port that nobody listens on. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

/** Waits until a server answers. */
export async function answers(url: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const response = await fetch(url).catch(() => null);
    await response?.body?.cancel();
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${url} does not answer`);
}
