/** `examples/browser.html` by the commands that stand in it. */
import { assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { wasmFiles, wasmFileUrl } from "../../lib/tfjs.ts";
import { inFolder } from "../checkpoint/folder.ts";
import { withChromium, withPage, withServer } from "../chromium.ts";
import { hostileModel, writeRun } from "../export/runs.ts";
import { projectRoot, runTaskWell } from "../tasks/run_task.ts";

Deno.test("the example's page names five classes of a picture that is chosen", () =>
  inFolder(async (folder) => {
    const run = await writeRun(`${folder}/run`, hostileModel);
    const site = `${folder}/site`;
    await Deno.mkdir(site);
    await Deno.copyFile(`${projectRoot}examples/browser.html`, `${site}/index.html`);
    const text = await Deno.readTextFile(`${site}/index.html`);
    const [, bundle] = /^ +deno (bundle .*)$/m.exec(text)!;
    const { code, stderr } = await new Deno.Command("deno", {
      args: bundle!.replace("deno-vit.js", `${site}/deno-vit.js`).split(" "),
      cwd: projectRoot,
      stdin: "null",
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    await runTaskWell("export", [run, "--format", "layers-model", "--out", `${site}/model`]);
    for (const name of wasmFiles) await Deno.copyFile(wasmFileUrl(name), `${site}/${name}`);
    const picture = fromFileUrl(new URL("../data/pictures/plain.png", import.meta.url));
    await withServer(
      site,
      (origin) =>
        withChromium((browser) =>
          withPage(browser, `${origin}/`, async ({ page }) => {
            await page.getByRole("status").filter({ hasText: /^(webgpu|wasm): / }).waitFor();
            await page.getByLabel("Picture").setInputFiles(picture);
            await page.locator("li").nth(4).waitFor();
            assertMatch((await page.locator("li").first().textContent())!, /^\d+\.\d % /);
          })
        ),
    );
  }));
