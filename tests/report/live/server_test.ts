import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { createRunFolder, type RunFolder } from "../../../lib/checkpoint/run_folder.ts";
import { preset } from "../../../lib/config/run.ts";
import { LivePage } from "../../../lib/report/live/server.ts";
import type { RunNews } from "../../../lib/report/live/run_watch.ts";
import { inFolder } from "../../data/fixtures.ts";

const host = "127.0.0.1:8420";

/** Gives a test the page of a new run, and one of a run that is not there. */
function withPage(
  test: (page: LivePage, run: RunFolder, folder: string) => Promise<void>,
): () => Promise<void> {
  return () =>
    inFolder(async (folder) => {
      const run = await createRunFolder(`${folder}/a`, { ...preset("tiny"), epochs: 2 });
      const runs = [run.path, `${folder}/later`];
      using page = new LivePage({ runs, hosts: [host], interval: 20, now: () => Date.now() });
      await test(page, run, folder);
    });
}

function ask(page: LivePage, path: string, headers: HeadersInit = { host }): Promise<Response> {
  return page.answer(new Request(`http://${host}${path}`, { headers }));
}

/** Events of a stream as they come. */
async function* eventsOf(response: Response): AsyncGenerator<{ event: string; data: unknown }> {
  let text = "";
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    text += part;
    const blocks = text.split("\n\n");
    text = blocks.pop()!;
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)![1]!;
      yield { event: field("event"), data: JSON.parse(field("data")) };
    }
  }
}

Deno.test(
  "the page and all that it loads are there, and nothing is of another kind than it says",
  withPage(async (page) => {
    const kinds = { "/": "html", ".js": "javascript", ".css": "css" };
    const html = await (await ask(page, "/")).text();
    const paths = [...html.matchAll(/(?:src|href)="(\/[^"]*)"/g)].map(([, path]) => path!);
    const js = await (await ask(page, "/live.js")).text();
    paths.push("/", ...[...js.matchAll(/from "\.(\/\w+\.js)"/g)].map(([, path]) => path!));
    assertEquals(paths.length, 8);
    for (const path of [...paths, "/state.js"]) {
      const response = await ask(page, path);
      assertEquals(response.status, 200, path);
      const end = path === "/" ? "/" : path.slice(path.lastIndexOf(".")) as keyof typeof kinds;
      assertStringIncludes(response.headers.get("content-type")!, kinds[end as keyof typeof kinds]);
      assertStringIncludes(response.headers.get("content-security-policy")!, "default-src 'none'");
      assert((await response.text()).length > 100, path);
    }
  }),
);

Deno.test(
  "another host's name is refused, and so is what is no reading",
  withPage(async (page) => {
    for (const headers of [{ host: "evil.example" }, { host: "evil.example:8420" }, {}]) {
      for (const path of ["/", "/events", "/runs/0/strip.png"]) {
        const response = await ask(page, path, headers as HeadersInit);
        assertEquals(response.status, 403);
        await response.body?.cancel();
      }
    }
    const request = new Request(`http://${host}/`, { method: "POST", headers: { host } });
    assertEquals((await page.answer(request)).status, 405);
  }),
);

Deno.test(
  "no path leads out of the run, nor to a file of it that is not for people",
  withPage(async (page, run, folder) => {
    await Deno.writeTextFile(`${folder}/secret.txt`, "secret");
    await Deno.writeTextFile(`${run.path}/report.html`, "<p>report</p>");
    for (
      const path of [
        ...[
          "/runs/0/../../secret.txt",
          "/runs/0/%2e%2e/%2e%2e/secret.txt",
          "/runs/0/..%2fsecret.txt",
        ],
        ...["/runs/0/config.json", "/runs/0/best.safetensors", "/runs/-1/strip.png"],
        ...[
          "/runs/9/strip.png",
          "/runs/0/strip.png/../config.json",
          "//etc/passwd",
          "/constructor",
        ],
        ...["/runs/0/report.html%00.png", "/__proto__", "/runs/00000/report.html"],
      ]
    ) {
      const response = await ask(page, path);
      assertEquals(response.status, 404, path);
      await response.body?.cancel();
    }
    const response = await ask(page, "/runs/0/report.html");
    assertEquals([response.status, await response.text()], [200, "<p>report</p>"]);
  }),
);

Deno.test(
  "a page is told all, then what is new; a run may begin after the page",
  withPage(async (page, run, folder) => {
    const line = (epoch: number) =>
      JSON.stringify({ epoch, step: epoch, loss: 1, accuracy: 0, top5: 0, valAccuracy: 0.5 }) +
      "\n";
    // The last line is not whole yet.
    await Deno.writeTextFile(run.history, line(1) + '{"epoch":2');
    const events = eventsOf(await ask(page, "/events"));
    const next = async () => (await events.next()).value as { event: string; data: unknown };
    const first = await next();
    assertEquals(first.event, "runs");
    const [a, later] = first.data as RunNews[];
    assertEquals([a!.name, a!.epochs.length, a!.step], ["a", 1, 1]);
    assertEquals([later!.name, later!.config], ["later", null]);
    assertStringIncludes(later!.status, "no run here yet");

    // What is new comes alone, or all where the file was written anew.
    await Deno.writeTextFile(run.history, line(2).slice('{"epoch":2'.length), { append: true });
    let { event, data } = await next();
    assertEquals([event, (data as RunNews).isNew, (data as RunNews).step], ["run", false, 2]);
    await createRunFolder(`${folder}/later`, { ...preset("tiny"), epochs: 7 });
    // Its folder, its lock and its configuration may come one by one.
    do ({ event, data } = await next()); while ((data as RunNews).status !== "Not begun");
    const news = data as RunNews;
    assertEquals([event, news.index, news.epochCount, news.status], ["run", 1, 7, "Not begun"]);
    await events.return(undefined);
  }),
);

Deno.test(
  "a damaged run is shown as such beside the others",
  withPage(async (page, run, folder) => {
    await Deno.writeTextFile(run.history, 'nonsense\n{"epoch":1,"step":3,"loss":1}\n');
    await Deno.mkdir(`${folder}/later`);
    await Deno.writeTextFile(`${folder}/later/config.json`, "{");
    const events = eventsOf(await ask(page, "/events"));
    const [a, damaged] = ((await events.next()).value as { data: RunNews[] }).data;
    assertEquals(a!.epochs.length, 1);
    assertStringIncludes(a!.status, "1 damaged line");
    assertStringIncludes(damaged!.status, "config.json is not valid JSON");
    await events.return(undefined);
  }),
);
