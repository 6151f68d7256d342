import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { createRunFolder } from "../../lib/checkpoint/run_folder.ts";
import { preset } from "../../lib/config/run.ts";
import { inFolder } from "../data/fixtures.ts";
import { assertRefused, exists, runTask, smallRun, taskCommand } from "./run_task.ts";

/** A port that is free now, and one that a listener holds. */
function ports(): { free: number; held: Deno.Listener } {
  const held = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const next = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const free = (next.addr as Deno.NetAddr).port;
  next.close();
  return { free, held };
}

/** Starts a task and waits for the line in which it says where a page is. */
async function serving(
  task: string,
  args: readonly string[],
  test: (line: string) => Promise<void>,
): Promise<void> {
  const child = taskCommand(task, args).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let text = "";
    while (!/http:.*\n/.test(text)) {
      const { value, done } = await reader.read();
      if (done) break;
      text += value;
    }
    await test(text.split("\n").find((line) => line.includes("http:"))!);
  } finally {
    // `deno task` passes on what a terminal's Ctrl-C would be.
    child.kill("SIGINT");
    await reader.cancel();
    await child.stderr.cancel();
    await child.status;
  }
}

Deno.test("serve says where the page is, of one run or of all in a folder", () =>
  inFolder(async (folder) => {
    for (const name of ["a", "b"]) await createRunFolder(`${folder}/${name}`, preset("tiny"));
    const { free, held } = ports();
    held.close();
    for (const [args, said] of [[[`${folder}/a`], `${folder}/a`], [[folder], "2 runs"]] as const) {
      await serving("serve", [...args, "--port", String(free)], async (line) => {
        assertEquals(line, `${said}: http://127.0.0.1:${free}/`);
        const response = await fetch(`http://127.0.0.1:${free}/`);
        assertStringIncludes(await response.text(), "<title>deno-vit</title>");
      });
    }
  }));

Deno.test("train --serve answers while it trains, and refuses another host's name", () =>
  inFolder(async (folder) => {
    const { free, held } = ports();
    held.close();
    const args = [...smallRun, "--epochs", "9999", "--out", `${folder}/a`, "--serve", String(free)];
    await serving("train", args, async (line) => {
      assertEquals(line, `Live page: http://127.0.0.1:${free}/`);
      const response = await fetch(`http://127.0.0.1:${free}/`);
      assertStringIncludes(await response.text(), "<title>deno-vit</title>");
      // By a plain connection, since fetch lets nobody choose a host.
      using connection = await Deno.connect({ hostname: "127.0.0.1", port: free });
      const request = "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
      await connection.write(new TextEncoder().encode(request));
      const answer = await new Response(connection.readable).text();
      assertStringIncludes(answer, "HTTP/1.1 403");
    });
  }));

Deno.test("a port in use is refused with the next free one, by train before anything is made", () =>
  inFolder(async (folder) => {
    const run = await createRunFolder(`${folder}/a`, preset("tiny"));
    const { held } = ports();
    const port = (held.addr as Deno.NetAddr).port;
    try {
      const refused = await runTask("serve", [run.path, "--port", String(port)]);
      assertRefused(refused, `Port ${port} is in use`, "the next free one is ");
      const [, next] = /free one is (\d+)/.exec(refused.stderr)!;
      assert(Number(next) > port);
      const out = `${folder}/new`;
      const train = await runTask("train", [...smallRun, "--out", out, "--serve", String(port)]);
      assertRefused(train, `Port ${port} is in use`);
      assert(!await exists(out));
    } finally {
      held.close();
    }
  }));

Deno.test("serve refuses what is no folder, an empty place, every address at once and no port", () =>
  inFolder(async (folder) => {
    assertRefused(await runTask("serve", [`${folder}/none`]), `${folder}/none is no folder`);
    assertRefused(await runTask("serve", [folder, "--host", "0.0.0.0"]), "0.0.0.0", "name the one");
    assertRefused(await runTask("serve", [folder, "--port", "70000"]), "70000");
    const other = await runTask("serve", [folder, "--host", "192.0.2.1"]);
    assertRefused(other, "--host 192.0.2.1", "allow it with: deno run", "192.0.2.1:8420");
  }));
