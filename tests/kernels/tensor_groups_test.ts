import { assert, assertEquals } from "@std/assert";
import { groupsOf, tableOf } from "../../lib/kernels/tensor_groups.ts";

const sizes = [64, 0, 5, 18_874_368, 16384, 7, 64, 64, 64, 131_073, 3, 1];

Deno.test("groupsOf puts every tensor that has elements into one group", () => {
  const members = groupsOf(sizes, 3).flatMap((group) => group.members);
  assertEquals(members.toSorted((a, b) => a - b), [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

Deno.test("groupsOf keeps to the capacity, and gives a large tensor a group of its own", () => {
  const groups = groupsOf(sizes, 3);
  assertEquals(groups.filter(({ members }) => members.length > 3), []);
  assertEquals(groups.find(({ members }) => members.includes(3))!.members, [3]);
  assertEquals(groups.find(({ members }) => members.includes(9))!.members, [9]);
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
  const { rows, blocks } = tableOf({ width: 4, members: [0, 4, 3] }, sizes, (index) => index);
  const numbers = rows.map(([, value]) => value);
  assertEquals(numbers.slice(0, 4), [0, 1, 16, 0]);
  assertEquals(numbers.slice(4, 8), [1, 5, 4096, 4]);
  assertEquals(numbers.slice(8), [5, 4613, 4_718_592, 3]);
  assertEquals(blocks, 4613);
});
