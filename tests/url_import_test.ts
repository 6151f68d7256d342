import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { inFolder } from "./data/fixtures.ts";

/** What another project would write. */
const program = (origin: string) => `
import {
  createShapes,
  createViTClassifier,
  DeviceDataset,
  fit,
  modelConfigOf,
  preset,
  readImageFile,
  selectBackend,
} from "${origin}/mod.ts";

await selectBackend("wasm");
const same = { flip: false, rotation: 0, zoom: 0, validationSplit: 0 };
const config = { ...preset("tiny"), ...same, transformerLayers: 2, batchSize: 8, epochs: 3 };
const model = createViTClassifier(modelConfigOf(config), { seed: 1 });
const data = new DeviceDataset(createShapes({ train: 8, test: 1 }), config);
const losses: number[] = [];
await fit({ config, model, data, onEvent: (event) => event.type === "step" && losses.push(event.loss) });
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
    assertEquals(parameters, 80804);
    assertEquals(size, [37, 53]);
  }));
