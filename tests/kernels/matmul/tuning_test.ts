import { assert, assertEquals } from "@std/assert";
import { currentGpu } from "../../../lib/backend/device.ts";
import {
  candidateTiles,
  hasSubgroupsOf8,
  measuredTiles,
  productKey,
  type ProductShape,
} from "../../../lib/kernels/matmul/tiles.ts";
import {
  loadTuning,
  millisecondsByClock,
  saveTuning,
  tune,
  untunedProducts,
} from "../../../lib/kernels/matmul/tuning.ts";
import { forEachBackend } from "../../backends.ts";

const product: ProductShape = { layout: "nn", rows: 40, depth: 12, columns: 20 };
const key = productKey(product);
const others: ProductShape[] = [
  { layout: "nt", rows: 40, depth: 20, columns: 12, parts: 2 },
  { layout: "tn", rows: 12, depth: 40, columns: 20 },
];
const onWebgpu = { backends: ["webgpu"] } as const;

/** Runs with no tile measured before or after, and with a file that does not exist yet. */
async function fresh(run: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  measuredTiles.clear();
  try {
    await run(`${folder}/cache/tuning.json`);
  } finally {
    measuredTiles.clear();
    await Deno.remove(folder, { recursive: true });
  }
}

forEachBackend(
  "tune takes the fastest tile of each product and asks only once",
  () =>
    fresh(async () => {
      const names = candidateTiles(product, hasSubgroupsOf8());
      // The second of all candidates is the fastest; each is run once more, to be compiled.
      let call = 0;
      const measure = (run: () => void) => {
        run();
        const candidate = Math.floor(call++ / 4);
        return Promise.resolve(candidate === 1 ? 5 : 7 + candidate);
      };
      const [result] = await tune([product, product], { measure });
      assertEquals(call, 4 * names.length);
      assertEquals(result!.best, names[1]);
      assertEquals(Object.keys(result!.milliseconds), names);
      assertEquals(measuredTiles.get(key), names[1]);
      assertEquals(await tune([product], { measure: () => Promise.reject(new Error()) }), []);
    }),
  onWebgpu,
);

for (
  const [how, measure] of [["its own", undefined], ["the host's", millisecondsByClock]] as const
) {
  forEachBackend(
    `tune measures every layout on the device, by ${how} clock`,
    () =>
      fresh(async () => {
        for (const { milliseconds } of await tune([product, ...others], { measure })) {
          for (const [name, time] of Object.entries(milliseconds)) {
            assert(time > 0 && time < 1e4, `${name} took ${time} ms`);
          }
        }
        assertEquals(untunedProducts([product, ...others]), []);
      }),
    onWebgpu,
  );
}

forEachBackend("a failed measurement leaves no tile behind", () =>
  fresh(async () => {
    const failure = await tune([product], { measure: () => Promise.reject(new Error("no")) })
      .catch((error: Error) => error.message);
    assertEquals([failure, measuredTiles.size], ["no", 0]);
  }), onWebgpu);

forEachBackend(
  "tuning is kept in a file, for the same adapter and version",
  () =>
    fresh(async (path) => {
      assertEquals(await loadTuning(path, "1"), 0);
      measuredTiles.set(key, "plainSmall");
      await saveTuning(path, "1");
      measuredTiles.clear();
      assertEquals(await loadTuning(path, "2"), 0);
      assertEquals(measuredTiles.size, 0);
      assertEquals(await loadTuning(path, "1"), 1);
      assertEquals([...measuredTiles], [[key, "plainSmall"]]);

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
      assertEquals(await loadTuning(path, "1"), 1);
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
