import { assert, assertEquals } from "@std/assert";
import {
  candidateTiles,
  chooseTile,
  measuredTiles,
  productKey,
  type ProductShape,
  tiles,
  workgroupTile,
} from "../../../lib/kernels/matmul/tiles.ts";

Deno.test("the last, smaller batch of an epoch has the tile that was measured for the others", () => {
  for (const [layout, size] of [["nn", "rows"], ["nt", "rows"], ["tn", "depth"]] as const) {
    const of = (batch: number): ProductShape => (
      { layout, rows: 64, depth: 64, columns: 64, [size]: batch * 144 }
    );
    assert(chooseTile(of(200), false) !== tiles.shared);
    try {
      measuredTiles.set(productKey(of(256)), "shared");
      assertEquals(chooseTile(of(256), false), tiles.shared);
      assertEquals(chooseTile(of(200), false), tiles.shared);
      assert(chooseTile(of(50), false) !== tiles.shared);
    } finally {
      measuredTiles.clear();
    }
  }
});

Deno.test("a product has a tile by its shape, unless one was measured", () => {
  const of = (rows: number, columns: number, layout: ProductShape["layout"] = "nn") =>
    [true, false].map((subgroups) => chooseTile({ layout, rows, depth: 64, columns }, subgroups));
  assertEquals(of(8, 64), [tiles.subgroupFlat, tiles.plainFlat]);
  assertEquals(of(8, 1024), [tiles.subgroupFlatWide, tiles.plainFlat]);
  assertEquals(of(8, 1024, "nt"), [tiles.subgroupFlat, tiles.plainFlat]);
  assertEquals(of(16, 64), [tiles.subgroupSmall, tiles.plainSmall]);
  assertEquals(of(9216, 256), [tiles.subgroup, tiles.plain]);
  assertEquals(of(9216, 254), [tiles.subgroupSmall, tiles.plain]);
});

Deno.test("a name tells apart what needs another tile, and not batches of similar size", () => {
  const shape = { layout: "nn", rows: 200, depth: 64, columns: 10 } as const;
  assertEquals(productKey(shape), "nn/256x64x10");
  assertEquals(productKey({ ...shape, rows: 256 }), productKey(shape));
  assertEquals(productKey({ ...shape, layout: "tn" }), "tn/200x64x10");
  assertEquals(productKey({ ...shape, parts: 3 }), "nn/256x64x10x3");
});

Deno.test("candidates are tiles that the adapter can run", () => {
  for (const rows of [4, 400]) {
    const shape: ProductShape = { layout: "nn", rows, depth: 8, columns: 8 };
    for (const subgroups of [true, false]) {
      const names = candidateTiles(shape, subgroups);
      assert(names.length > 1);
      assert(names.every((name) => (tiles[name].kind === "subgroup") === subgroups));
    }
  }
});

Deno.test("a workgroup computes what its threads own", () => {
  assertEquals(workgroupTile(tiles.plain), { rows: 64, columns: 64 });
  assertEquals(workgroupTile(tiles.subgroup), { rows: 32, columns: 32 });
  assertEquals(workgroupTile(tiles.subgroupFlatWide), { rows: 8, columns: 1024 });
});
