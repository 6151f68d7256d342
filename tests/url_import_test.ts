import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { inFolder } from "./data/fixtures.ts";

/** What another project would write. */
const program = (origin: string) => `
import {
  AdamW,
  createViTClassifier,
  modelConfigOf,
  namedVariables,
  preset,
  readImageFile,
  selectBackend,
  tf,
  trainStep,
} from "${origin}/mod.ts";

await selectBackend("wasm");
const config = { ...preset("tiny"), transformerLayers: 2, numClasses: 10, mlpDropout: 0 };
const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
const variables = [...namedVariables(model).values()];
const optimizer = new AdamW(config);
const batch = {
  images: tf.randomNormal([8, 32, 32, 3], 0, 1, "float32", 1) as tf.Tensor4D,
  labels: tf.tensor1d([0, 1, 2, 3, 4, 5, 6, 7], "int32"),
};
const losses: number[] = [];
for (let step = 0; step < 3; step++) {
  const stats = trainStep(model, variables, optimizer, batch, tf.tensor1d([1, step], "int32"));
  losses.push((await stats.data<"float32">()).filter((_, i) => i % 3 === 0).reduce((a, b) => a + b) / 8);
}
const picture = await readImageFile("picture.jpg");
const { width, height } = picture;
console.log(JSON.stringify({ losses, parameters: model.countParams(), size: [width, height] }));
`;

/** Serves mod.ts and lib/ as a file host would; the pattern leaves no way out of the repository. */
async function serveModule(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (!/^\/(mod|lib\/[\w/]+)\.ts$/.test(pathname)) return new Response(null, { status: 404 });
  const file = fromFileUrl(new URL(`..${pathname}`, import.meta.url));
  try {
    const headers = { "content-type": "application/typescript; charset=utf-8" };
    return new Response(await Deno.readTextFile(file), { headers });
  } catch {
    return new Response(null, { status: 404 });
  }
}

Deno.test("another project imports mod.ts from a URL, trains for three steps and reads a picture", () =>
  inFolder(async (folder) => {
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      serveModule,
    );
    const host = `127.0.0.1:${server.addr.port}`;
    for (const path of ["deno.json", "lib/..%2fdeno.json", "%2e%2e/etc/passwd", "lib/none.ts"]) {
      const response = await fetch(`http://${host}/${path}`);
      await response.body?.cancel();
      assertEquals(response.status, 404, path);
    }

    await Deno.writeTextFile(`${folder}/deno.json`, "{}");
    const picture = new URL("data/pictures/exif-orientation-6.jpg", import.meta.url);
    await Deno.copyFile(picture, `${folder}/picture.jpg`);
    await Deno.writeTextFile(`${folder}/main.ts`, program(`http://${host}`));
    const { code, stdout, stderr } = await new Deno.Command("deno", {
      args: [
        "run",
        "--no-prompt",
        "--check",
        "--allow-read",
        `--allow-import=${host}`,
        // The port may have served other sources before, and the cache goes by the address.
        `--reload=http://${host}`,
        "main.ts",
      ],
      cwd: folder,
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const errors = new TextDecoder().decode(stderr);
    assertEquals(code, 0, errors);
    const { losses, parameters, size } = JSON.parse(new TextDecoder().decode(stdout));
    assertEquals(losses.length, 3);
    assert(losses[1] < losses[0] && losses[2] < losses[1], `${losses} do not fall`);
    assertEquals(parameters, 74_954);
    assertEquals(size, [37, 53]);
  }));
