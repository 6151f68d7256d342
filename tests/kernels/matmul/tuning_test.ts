import { assert, assertEquals } from "@std/assert";
import {
  candidateTiles,
  hasSubgroupsOf8,
  measuredTiles,
  productKey,
  type ProductShape,
} from "../../../lib/kernels/matmul/tiles.ts";
import { tune, untunedProducts } from "../../../lib/kernels/matmul/tuning.ts";
import { millisecondsByClock } from "../../../lib/kernels/measure.ts";
import { forEachBackend } from "../../backends.ts";

const product: ProductShape = { layout: "nn", rows: 40, depth: 12, columns: 20 };
const key = productKey(product);
const others: ProductShape[] = [
  { layout: "nt", rows: 40, depth: 20, columns: 12, parts: 2 },
  { layout: "tn", rows: 12, depth: 40, columns: 20 },
];
const onWebgpu = { backends: ["webgpu"] } as const;

/** Runs with no tile measured before or after. */
async function fresh(run: () => Promise<void>): Promise<void> {
  measuredTiles.clear();
  try {
    await run();
  } finally {
    measuredTiles.clear();
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
