import { assertEquals } from "@std/assert";
import { currentGpu } from "../../lib/backend/device.ts";
import { formKey, measuredForms } from "../../lib/kernels/forms.ts";
import { measuredTiles, productKey } from "../../lib/kernels/matmul/tiles.ts";
import { loadTuning, saveTuning } from "../../lib/kernels/tuning_file.ts";
import { forEachBackend } from "../backends.ts";

const key = productKey({ layout: "nn", rows: 40, depth: 12, columns: 20 });
const formed = formKey({ kernel: "layer_norm", rows: 40, dim: 12 });
const onWebgpu = { backends: ["webgpu"] } as const;

/** Runs with nothing measured before or after, and with a file that does not exist yet. */
async function fresh(run: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  const clear = () => [measuredTiles, measuredForms].forEach((chosen) => chosen.clear());
  clear();
  try {
    await run(`${folder}/cache/tuning.json`);
  } finally {
    clear();
    await Deno.remove(folder, { recursive: true });
  }
}

forEachBackend(
  "tuning is kept in a file, for the same adapter and version",
  () =>
    fresh(async (path) => {
      assertEquals(await loadTuning(path, "1"), 0);
      measuredTiles.set(key, "plainSmall");
      measuredForms.set(formed, "workgroup");
      await saveTuning(path, "1");
      measuredTiles.clear();
      measuredForms.clear();
      assertEquals(await loadTuning(path, "2"), 0);
      assertEquals(measuredTiles.size, 0);
      assertEquals(await loadTuning(path, "1"), 2);
      assertEquals([...measuredTiles], [[key, "plainSmall"]]);
      assertEquals([...measuredForms], [[formed, "workgroup"]]);

      const gpu = currentGpu() as unknown as { description: string };
      const { description } = gpu;
      try {
        gpu.description = "another adapter";
        measuredTiles.clear();
        assertEquals(await loadTuning(path, "1"), 0);
        measuredTiles.set(key, "shared");
        await saveTuning(path, "1");
      } finally {
        gpu.description = description;
      }
      assertEquals(await loadTuning(path, "1"), 2);
      assertEquals(measuredTiles.get(key), "plainSmall");
      const folder = path.slice(0, path.lastIndexOf("/"));
      assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["tuning.json"]);
    }),
  onWebgpu,
);

forEachBackend("a broken tuning file counts as empty and is rebuilt", () =>
  fresh(async (path) => {
    measuredTiles.set(key, "plain");
    await saveTuning(path, "1");
    const whole = await Deno.readTextFile(path);
    for (
      const broken of [
        whole.slice(0, whole.length / 2),
        "",
        "[1]",
        "null",
        whole.replace('"plain"', "7"),
        whole.replace('"plain"', '"no such tile"'),
        whole.replace('"plain"', '"toString"'),
      ]
    ) {
      measuredTiles.clear();
      await Deno.writeTextFile(path, broken);
      assertEquals(await loadTuning(path, "1"), 0, broken);
      assertEquals(measuredTiles.size, 0);
      measuredTiles.set(key, "plain");
      await saveTuning(path, "1");
      assertEquals(await Deno.readTextFile(path), whole);
    }
  }), onWebgpu);
