/** Runs of released versions load and go on; see tests/released/README.md. */
import { assert, assertAlmostEquals, assertEquals, assertObjectMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { selectBackend } from "../../lib/backend/select.ts";
import { reopenRun } from "../../lib/checkpoint/reopen.ts";
import { readHistory } from "../../lib/checkpoint/history.ts";
import { closePool, openPool } from "../../lib/simd/pool.ts";
import { createShapes } from "../../lib/data/shapes.ts";
import { loadWeights } from "../../lib/checkpoint/state.ts";
import { trainRun } from "../../lib/train/run.ts";
import { contentsOf } from "../tasks/run_task.ts";
import { equals, inFolder } from "./folder.ts";

const released = fromFileUrl(new URL("../released", import.meta.url));

/** A copy of a released run, taken up and trained to its end. */
async function goOn(
  name: string,
  folder: string,
  { epochs, pooled = true }: { epochs?: number; pooled?: boolean } = {},
): Promise<void> {
  for (const [file, bytes] of Object.entries(await contentsOf(`${released}/${name}`))) {
    await Deno.writeFile(`${folder}/${file}`, bytes);
  }
  const { run, config, lock, state } = await reopenRun(folder);
  await using _ = lock;
  await selectBackend("wasm");
  if (!pooled) closePool();
  await trainRun({
    config: { ...config, epochs: epochs ?? config.epochs },
    dataset: createShapes(),
    folder: run,
    lock,
    start: { resume: state! },
    versions: state!.versions,
  });
}

Deno.test("a run that 0.1.0 left in mid-epoch ends, on its kernels, with the bytes it had there", () =>
  inFolder(async (folder) => {
    await goOn("0.1.0", folder, { pooled: false });
    openPool(navigator.hardwareConcurrency);
    const expected = await contentsOf(`${released}/0.1.0-ended`);
    const found = await contentsOf(folder);
    for (const name of ["last.safetensors", "best.safetensors"]) {
      assert(equals(found[name]!, expected[name]!), `${name} differs`);
    }
    // Lines of epochs that end now say more.
    const [lines, before] = await Promise.all([folder, `${released}/0.1.0-ended`].map((each) => {
      return readHistory(`${each}/history.jsonl`);
    }));
    lines!.forEach((line, i) => assertObjectMatch(line, before![i]!));
    assertEquals(lines!.length, before!.length);
  }));

Deno.test("a run of 0.1.0 goes on with the kernels of today, nearly as it would have", () =>
  inFolder(async (folder) => {
    await goOn("0.1.0", folder);
    const [found, expected] = await Promise.all([folder, `${released}/0.1.0-ended`].map((each) => {
      return readHistory(`${each}/history.jsonl`);
    }));
    found!.forEach(({ loss, val_loss }, i) => {
      assertAlmostEquals(loss!, expected![i]!.loss!, 1e-4);
      assertAlmostEquals(val_loss!, expected![i]!.val_loss!, 1e-4);
    });
  }));

Deno.test("a run from before a field goes on with that field's default", () =>
  inFolder(async (folder) => {
    await goOn("before-clip-norm", folder, { epochs: 2 });
    const { config, epoch } = await loadWeights(`${folder}/last.safetensors`);
    assertEquals([config.clipNorm, epoch], [0, 2]);
  }));
