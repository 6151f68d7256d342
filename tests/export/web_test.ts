import { assertEquals, assertNotEquals } from "@std/assert";
import { pageFiles, type WebPage, writeFiles } from "../../lib/export/web.ts";
import { inFolder, names } from "../checkpoint/folder.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const page: WebPage = {
  title: "</script><b>",
  classes: 3,
  program: bytes("program"),
  model: new Map([["group1-shard1of1.bin", bytes("weights")], ["model.json", bytes("{}")]]),
};

/** What the service worker keeps, and under which version. */
async function siteOf(page: WebPage): Promise<{ version: string; files: string[] }> {
  const text = new TextDecoder().decode((await pageFiles(page)).get("service_worker.js"));
  return JSON.parse(/^const site = (.*);$/m.exec(text)![1]!);
}

Deno.test("the service worker keeps every file but itself, under a version of their contents", async () => {
  const files = [...(await pageFiles(page)).keys()];
  assertEquals(files.at(-1), "index.html");
  const kept = new Set(files.filter((name) => !["index.html", "service_worker.js"].includes(name)));
  const { version, files: listed } = await siteOf(page);
  assertEquals(new Set(listed), new Set(["./", ...kept]));
  assertEquals((await siteOf(page)).version, version);
  for (const changed of [{ program: bytes("other") }, { title: "other" }, { model: new Map() }]) {
    assertNotEquals((await siteOf({ ...page, ...changed })).version, version);
  }
});

Deno.test("the page itself holds nothing of the model, so no name can be taken for markup", async () => {
  const html = (page: WebPage) => pageFiles(page).then((files) => files.get("index.html"));
  assertEquals(await html(page), await html({ ...page, title: "other", classes: 9 }));
});

Deno.test("a page's files lie in their folders", () =>
  inFolder(async (folder) => {
    await writeFiles(`${folder}/page`, await pageFiles(page));
    assertEquals(await names(`${folder}/page/model`), ["group1-shard1of1.bin", "model.json"]);
    assertEquals((await names(`${folder}/page`)).includes("tfjs-backend-wasm-simd.wasm"), true);
  }));
