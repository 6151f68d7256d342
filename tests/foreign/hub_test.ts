/** Models of a hub on the loopback: fetched once, resumed, checked, and refused in a sentence. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { UserError } from "../../lib/errors.ts";
import { fetchModel, type HubOptions, parseHubName } from "../../lib/foreign/hub.ts";
import { findForeign, loadForeign } from "../../lib/foreign/load.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { assertRefused, exists, projectRoot, runTask } from "../tasks/run_task.ts";
import { goldenFolder } from "./golden.ts";
import { type Hub, type HubContent, startHub } from "./hub_server.ts";

const commits = ["a", "b"].map((digit) => digit.repeat(40)) as [string, string];
const encoder = new TextEncoder();

/** The files of the golden Hugging Face model. */
async function goldenFiles(): Promise<HubContent["files"]> {
  const files: HubContent["files"] = {};
  for (const name of ["config.json", "preprocessor_config.json", "model.safetensors"]) {
    files[name] = await Deno.readFile(`${goldenFolder("hf")}/${name}`);
  }
  return files;
}

/** Runs a test with a hub and a folder of its own. */
async function withHub(
  content: Partial<HubContent>,
  test: (hub: Hub, options: HubOptions & { notices: string[] }) => Promise<void>,
): Promise<void> {
  const hub = startHub({ commit: commits[0], files: await goldenFiles(), ...content });
  try {
    await inFolder(async (root) => {
      const notices: string[] = [];
      await test(hub, {
        ...{ root, url: hub.url, notices, onNotice: (text) => notices.push(text) },
        download: { attempts: 2, wait: () => Promise.resolve(), stallTimeout: 2000 },
        timeout: 2000,
      });
    });
  } finally {
    await hub.close();
  }
}

/** Paths of all files below a folder, sorted. */
async function filesBelow(folder: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const inner = isDirectory ? await filesBelow(`${folder}/${name}`) : [];
    paths.push(...(isDirectory ? inner.map((path) => `${name}/${path}`) : [name]));
  }
  return paths.sort();
}

Deno.test("names of models are owner and name, with or without a revision", () => {
  assertEquals(parseHubName("hf:google/vit-base"), {
    ...{ owner: "google", name: "vit-base", revision: "main" },
  });
  assertEquals(parseHubName("hf:a/b@refs/pr/1").revision, "refs/pr/1");
  for (
    const wrong of ["hf:", "hf:a", "hf:a/b/c", "hf:../b", "hf:a/b@", "hf:a/b@../../c", "hf:a/b c"]
  ) {
    try {
      parseHubName(wrong);
      assert(false, wrong);
    } catch (error) {
      assert(error instanceof UserError, `${wrong}: ${error}`);
    }
  }
});

Deno.test("a model is fetched once, each file by its checksum, and is there without a network", () =>
  withHub({}, async (hub, options) => {
    const model = parseHubName("hf:owner/name");
    const folder = await fetchModel(model, options);
    assertEquals(await filesBelow(options.root), [
      ...["config.json", "model.safetensors", "preprocessor_config.json"]
        .map((name) => `owner--name/${commits[0]}/${name}`),
      "owner--name/main.json",
    ]);
    assertEquals((await loadForeign((await findForeign(folder))!)).config.projectionDim, 48);
    hub.asked.length = 0;
    assertEquals(await fetchModel(model, options), folder);
    assertEquals(hub.asked.filter((each) => each.startsWith("GET")), []);
    // A revision by its commit, and the model by its old name.
    assertEquals(await fetchModel({ ...model, revision: commits[0] }, options), folder);
    const renamed = await fetchModel(parseHubName("hf:owner/old"), options);
    assert(renamed.includes("owner--old"), renamed);

    await hub.close();
    assertEquals(await fetchModel(model, options), folder);
    assertEquals(options.notices.length, 1);
    assertStringIncludes(options.notices[0]!, "cannot be reached");
    const { message } = await assertRejects(
      () => fetchModel(parseHubName("hf:owner/other"), options),
      UserError,
    );
    assertStringIncludes(message, "fetch config.json and model.safetensors of owner/other");
    hub.close = () => Promise.resolve();
  }));

Deno.test("a moved branch is another folder, and the old one stays", () =>
  withHub({}, async (hub, options) => {
    const model = parseHubName("hf:owner/name");
    const first = await fetchModel(model, options);
    hub.content = { ...hub.content, commit: commits[1] };
    const second = await fetchModel(model, options);
    assert(first !== second);
    assert(await exists(`${first}/model.safetensors`));
  }));

Deno.test("a broken connection goes on where it stopped", () =>
  withHub({}, async (hub, options) => {
    let cut = true;
    hub.content.body = (bytes) => {
      if (!cut) return bytes;
      cut = false;
      delete hub.content.body;
      // Fewer bytes than it says: the connection ends before.
      const part = new ReadableStream({
        start(controller) {
          controller.enqueue(bytes.subarray(0, 100_000));
          setTimeout(() => controller.close(), 200);
        },
      });
      return new Response(part, {
        headers: { etag: '"tag"', "content-length": `${bytes.length}` },
      });
    };
    await fetchModel(parseHubName("hf:owner/name"), options);
    const ranges = hub.asked.filter((each) => each.includes("bytes="));
    assertEquals(ranges.length, 1);
    assert(/bytes=\d{4,}-/.test(ranges[0]!), ranges[0]);
  }));

Deno.test("shards are fetched as the index names them", async () => {
  const { "model.safetensors": whole, ...files } = await goldenFiles();
  const index = { weight_map: { a: "model-1.safetensors", b: "model-2.safetensors" } };
  await withHub({
    files: {
      ...files,
      "model.safetensors.index.json": encoder.encode(JSON.stringify(index)),
      "model-1.safetensors": whole!,
      "model-2.safetensors": whole!,
    },
  }, async (_, options) => {
    const folder = await fetchModel(parseHubName("hf:owner/name"), options);
    assertEquals((await filesBelow(folder)).length, 5);
  });
});

const html = () =>
  new Response("<!doctype html><title>Log in</title>", {
    headers: { "content-type": "text/html" },
  });
const forever = () =>
  new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(65536)),
  });

/** What a hub does, and what is said of it; nothing of the weights is kept. */
const refused: [
  name: string,
  content: (files: HubContent["files"]) => Partial<HubContent>,
  text: string,
][] = [
  [
    "html instead of a configuration",
    () => ({ instead: { "config.json": html } }),
    "does not answer as the hub does (200 text/html",
  ],
  [
    "html instead of weights",
    () => ({ body: () => "<!doctype html><html>".padEnd(600) }),
    "is an HTML page and no model",
  ],
  [
    "weights of another checksum",
    () => ({ body: (bytes) => bytes.map((b, i) => i === 99999 ? b ^ 1 : b) }),
    "as its server says: it was damaged",
  ],
  [
    "a configuration of another checksum",
    () => ({ stated: (h, file) => file === "config.json" && h.set("etag", `"${"0".repeat(40)}"`) }),
    "as its server says",
  ],
  ["an endless body", () => ({ body: forever }), "and more are not taken"],
  [
    "a body that is too short",
    () => ({ body: (bytes) => bytes.slice(0, 1000) }),
    "as its server says",
  ],
  [
    "a size of nothing",
    () => ({ stated: (h) => h.set("x-linked-size", "0") }),
    "does not answer as the hub does",
  ],
  [
    "a size that is no number",
    () => ({ stated: (h) => h.set("x-linked-size", "many") }),
    "does not answer as the hub does",
  ],
  [
    "a size beyond all models",
    () => ({
      stated: (h, file) => file.startsWith("model") && h.set("x-linked-size", `${2 ** 50}`),
    }),
    "and more than 68719476736 are not taken",
  ],
  [
    "no commit",
    () => ({ stated: (h) => h.delete("x-repo-commit") }),
    "without a commit, a size or a checksum",
  ],
  [
    "a commit that leads out of the folder",
    () => ({ stated: (h) => h.set("x-repo-commit", "../../etc") }),
    "does not answer as the hub does",
  ],
  ["no checksum", () => ({
    stated: (h) => {
      h.delete("x-linked-etag");
      h.delete("etag");
    },
  }), "does not answer as the hub does"],
  [
    "a redirect in a circle",
    () => ({
      instead: {
        "config.json": (request) =>
          new Response(null, { status: 302, headers: { location: request.url } }),
      },
    }),
    "redirects in a circle",
  ],
  [
    "nothing but pickles",
    ({ "model.safetensors": _, ...files }) => ({
      files: { ...files, "pytorch_model.bin": new Uint8Array(9) },
    }),
    "is a pickled file",
  ],
  [
    "no weights at all",
    ({ "model.safetensors": _, ...files }) => ({ files }),
    "has no model.safetensors",
  ],
  [
    "an index that leads out of its folder",
    ({ "model.safetensors": _, ...files }) => ({
      files: {
        ...files,
        "model.safetensors.index.json": encoder.encode('{"weight_map":{"a":"../x.safetensors"}}'),
      },
    }),
    "a plain name is needed",
  ],
  [
    "an index of shards that are not there",
    ({ "model.safetensors": _, ...files }) => ({
      files: {
        ...files,
        "model.safetensors.index.json": encoder.encode('{"weight_map":{"a":"x.safetensors"}}'),
      },
    }),
    'has no "x.safetensors"',
  ],
  [
    "an index that is no JSON",
    ({ "model.safetensors": _, ...files }) => ({
      files: { ...files, "model.safetensors.index.json": encoder.encode("{") },
    }),
    "is no index of shards",
  ],
];
for (const [name, content, text] of refused) {
  Deno.test(`a hub is refused that has ${name}`, async () => {
    await withHub(content(await goldenFiles()), async (_, options) => {
      const { message } = await assertRejects(
        () => fetchModel(parseHubName("hf:owner/name"), options),
        UserError,
      );
      assertStringIncludes(message, text);
      assert(!message.includes("\n"), message);
      const kept = await filesBelow(options.root);
      assertEquals(kept.filter((path) => !/config\.json$|index\.json$/.test(path)), []);
      assertEquals(kept.filter((path) => path.includes(".part")), []);
    });
  });
}

for (
  const [name, text] of [
    ["hf:owner/none", "has no model owner/none"],
    ["hf:nobody/name", "has no model nobody/name"],
    ["hf:owner/name@v9", 'but no revision "v9"'],
    ["hf:owner/closed", "does not give hf:owner/closed to everybody"],
  ] as const
) {
  Deno.test(`${name} is refused`, () =>
    withHub({}, async (_, options) => {
      await assertRejects(() => fetchModel(parseHubName(name), options), UserError, text);
    }));
}

Deno.test("deno task train --init-from hf:… fetches and trains; a wrong name is one sentence", async () => {
  const hub = startHub({ commit: commits[0], files: await goldenFiles(), isOneHost: true });
  const home = `${projectRoot}data/models/owner--name`;
  try {
    await inFolder(async (folder) => {
      const args = [
        ...["--dataset", "shapes", "--limit", "40", "--batch-size", "36", "--epochs", "1"],
        ...["--backend", "wasm", "--hub", hub.url, "--out", `${folder}/run`],
      ];
      const { code, stderr } = await runTask("train", ["--init-from", "hf:owner/name", ...args]);
      assertEquals(code, 0, stderr);
      assert(await exists(`${folder}/run/best.safetensors`));
      const wrong = await runTask("train", ["--init-from", "hf:owner", ...args]);
      assertRefused(wrong, "write hf:OWNER/NAME");
    });
  } finally {
    await hub.close();
    await Deno.remove(home, { recursive: true }).catch(() => {});
  }
});
