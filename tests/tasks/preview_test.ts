import { assertEquals, assertMatch } from "@std/assert";
import { inFolder } from "../data/fixtures.ts";
import { assertRefused, runTask, taskCommand } from "./run_task.ts";

Deno.test("preview serves a page's files, each as what it is, and nothing else", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/secret`, "outside");
    const page = `${folder}/page`;
    await Deno.mkdir(`${page}/model`, { recursive: true });
    await Deno.writeTextFile(`${page}/index.html`, "<!doctype html>");
    await Deno.writeTextFile(`${page}/model/model.json`, "{}");
    await Deno.writeTextFile(`${page}/a.wasm`, "");
    await Deno.writeTextFile(`${page}/.hidden`, "");
    await using process = taskCommand("preview", [page]).spawn();
    const [chunk] = [await process.stdout.getReader().read()];
    const [, origin] = /^(http:\/\/127\.0\.0\.1:\d+) shows /.exec(
      new TextDecoder().decode(chunk.value),
    )!;
    const types: Record<string, string> = {
      "/": "text/html; charset=UTF-8",
      "/index.html": "text/html; charset=UTF-8",
      "/model/model.json": "application/json; charset=UTF-8",
      "/a.wasm": "application/wasm",
    };
    for (const [path, type] of Object.entries(types)) {
      const response = await fetch(`${origin}${path}`);
      await response.body?.cancel();
      assertEquals([response.status, response.headers.get("content-type")], [200, type], path);
    }
    const outside = ["/model", "/none", "/.hidden", "/..%2fsecret", "/%2e%2e%2fsecret", "//secret"];
    for (const path of [...outside, "/model/%5c..%5c..%5csecret", "/%00", "/%ff"]) {
      const response = await fetch(`${origin}${path}`);
      await response.body?.cancel();
      assertEquals(response.status, 404, path);
    }
    process.kill();
  }));

Deno.test("preview of what is no page says how to make one", async () => {
  const result = await runTask("preview", ["docs"]);
  assertRefused(result, "docs has no index.html", "--format web --out docs");
  assertMatch(result.stderr, /^error: /m);
});
