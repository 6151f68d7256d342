/// <reference lib="dom" />
/** What `lib/browser.ts` makes of exported models, on each backend of a browser, beside Deno. */
import { assert, assertEquals } from "@std/assert";
import { selectBackend } from "../../lib/backend/select.ts";
import type { ViTConfig } from "../../lib/config/model.ts";
import { writeFiles } from "../../lib/export/web.ts";
import { filesOf } from "../../lib/export/file_handler.ts";
import { portableMetadata } from "../../lib/export/portable_model.ts";
import { wasmFiles, wasmFileUrl } from "../../lib/tfjs.ts";
import { bundled } from "../../tasks/bundled.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { withChromium, withPage, withServer } from "../chromium.ts";
import { logitsOf, modelOf, smallConfig, someImages, somePortable } from "../export/models.ts";

/** Between them every layer. */
const architectures: Partial<ViTConfig>[] = [
  { mlpHeadUnits: [12], pooling: "flatten" },
  { pooling: "token", positionEmbedding: "sincos2d" },
  { tokenizer: "conv", convChannels: [5, 8], pooling: "sequence", mlpLastActivation: false },
  { tokenizer: "shifted", localityAttention: true, layerScale: 0.1, pooling: "mean" },
];

const backends = ["webgpu", "webgl", "wasm", "cpu"];

Deno.test("exported models load in a browser on each backend, with Deno's logits", () =>
  inFolder(async (folder) => {
    await selectBackend("cpu");
    const expected: Float32Array[] = [];
    for (const [i, changes] of architectures.entries()) {
      const portable = somePortable(smallConfig(changes));
      const model = modelOf(portable);
      expected.push((await logitsOf(model, portable.config, 2)).slice());
      model.setUserDefinedMetadata(portableMetadata(portable));
      const files = await filesOf(model);
      await writeFiles(`${folder}/${i}`, files);
      model.dispose();
    }
    const program = await bundled(new URL("../../lib/browser.ts", import.meta.url));
    await Deno.writeFile(`${folder}/deno-vit.js`, program);
    for (const name of wasmFiles) await Deno.copyFile(wasmFileUrl(name), `${folder}/${name}`);
    await Deno.writeTextFile(
      `${folder}/index.html`,
      "<!doctype html><title>Test</title><link rel=icon href=data:,>",
    );

    await withServer(
      folder,
      (origin) =>
        withChromium((browser) =>
          withPage(browser, `${origin}/index.html`, async ({ page }) => {
            for (const backend of backends) {
              for (const [i, changes] of architectures.entries()) {
                const config = smallConfig(changes);
                const images = [...someImages(config, 2)];
                const hasClassToken = changes.pooling === "token";
                const shape: [number, number, number, number] = [2, 12, 12, 3];
                const found = await page.evaluate(
                  async ({ backend, url, images, shape, hasClassToken }) => {
                    const program = new URL("deno-vit.js", location.href).href;
                    const vit: typeof import("../../lib/browser.ts") = await import(program);
                    vit.setWasmPaths(new URL("./", location.href).href);
                    const { name } = await vit.selectBackend(backend);
                    const { model, classNames } = await vit.loadClassifier(url);
                    const input = vit.tf.tensor4d(images, shape);
                    const logits = model.predict(input) as import("../../lib/tfjs.ts").tf.Tensor;
                    const values = [...await logits.data()];
                    const map = vit.attentionRollout(model, input, hasClassToken);
                    const shares = [...await map.data()];
                    await vit.checkGpu();
                    vit.tf.dispose([input, logits, map]);
                    model.dispose();
                    return { name, values, shares, classNames };
                  },
                  { backend, url: `${origin}/${i}/model.json`, images, shape, hasClassToken },
                );
                const what = `${backend}, ${JSON.stringify(changes)}`;
                assertEquals(found.name, backend);
                assertEquals(found.classNames.length, 5, what);
                const largest = Math.max(...expected[i]!.map(Math.abs));
                expected[i]!.forEach((logit, at) => {
                  const gap = Math.abs(logit - found.values[at]!) / largest;
                  assert(gap < 1e-4, `${what}: logit ${at} is ${found.values[at]}, not ${logit}`);
                });
                const sum = found.shares.reduce((sum, share) => sum + share, 0);
                assert(Math.abs(sum - 2) < 1e-4, `${what}: two maps sum to ${sum}`);
              }
            }
          })
        ),
    );
  }));
