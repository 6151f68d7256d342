import { assert, assertEquals } from "@std/assert";
import { groupsOf, tableOf } from "../../../lib/kernels/optimizer/tensor_groups.ts";

const sizes = [64, 0, 5, 18_874_368, 16384, 7, 64, 64, 64, 131_073, 3, 1];

Deno.test("groupsOf puts every tensor that has elements into one group", () => {
  const members = groupsOf(sizes, 3).flatMap((group) => group.members);
  assertEquals(members.toSorted((a, b) => a - b), [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

Deno.test("groupsOf keeps to the capacity, and large tensors by themselves", () => {
  const groups = groupsOf(sizes, 3);
  assertEquals(groups.filter(({ members }) => members.length > 3), []);
  assertEquals(groups.find(({ members }) => members.includes(3))!.members, [3]);
  assertEquals(groups.find(({ members }) => members.includes(9))!.members, [9]);
  const large = 1 << 20;
  assertEquals(groupsOf([large, 4, large, 4], 3).map(({ members }) => members), [[0, 2], [1, 3]]);
});

Deno.test("groupsOf keeps to the most elements, unless one tensor has more", () => {
  const members = (most: number) => groupsOf([8, 4, 4, 40], 9, most).map(({ members }) => members);
  assertEquals(members(12), [[0, 1], [2], [3]]);
  assertEquals(members(60), [[0, 1, 2, 3]]);
});

Deno.test("groupsOf loads four elements at once only where the size allows", () => {
  for (const { width, members } of groupsOf(sizes, 3)) {
    for (const member of members) assertEquals(sizes[member]! % 4 === 0, width === 4);
  }
});

Deno.test("groupsOf makes groups of one on a device that binds little", () => {
  assert(groupsOf([4, 4, 4], 0).every(({ members }) => members.length === 1));
});

Deno.test("tableOf gives each tensor workgroups of its own, enough for its loads", () => {
  // One workgroup makes 64 * 16 loads of four elements.
  const { rows, rounds, blocks } = tableOf(
    { width: 4, members: [0, 4, 6] },
    sizes,
    (index) => [index, 7],
  );
  const numbers = rows.map(([, value]) => value);
  assertEquals(numbers, [0, 16, 0, 7, 1, 4096, 4, 7, 5, 16, 6, 7]);
  assertEquals([rounds, blocks], [16, 6]);
});

Deno.test("tableOf gives the workgroups of large tensors more loads", () => {
  const { rows, rounds, blocks } = tableOf({ width: 4, members: [3] }, sizes);
  assertEquals(rows.map(([, value]) => value), [0, 4_718_592, 0, 0]);
  assertEquals([rounds, blocks], [128, 576]);
});
