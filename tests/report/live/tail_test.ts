import { assertEquals } from "@std/assert";
import { Tail } from "../../../lib/report/live/tail.ts";
import { inFolder } from "../../data/fixtures.ts";

/** A file that a test writes, and what is read of it. */
function withTail(test: (path: string, tail: Tail) => Promise<void>): () => Promise<void> {
  return () => inFolder((folder) => test(`${folder}/a.jsonl`, new Tail(`${folder}/a.jsonl`)));
}

const add = (path: string, text: string) => Deno.writeTextFile(path, text, { append: true });

Deno.test(
  "only what is new is read, and half a line waits for its end",
  withTail(async (path, tail) => {
    assertEquals(await tail.read(), null);
    await add(path, '{"a":1}\n{"a":');
    assertEquals(await tail.read(), { isNew: true, lines: [{ a: 1 }] });
    assertEquals(await tail.read(), null);
    await add(path, '2}\n{"a":3}\n');
    assertEquals(await tail.read(), { isNew: false, lines: [{ a: 2 }, { a: 3 }] });
  }),
);

Deno.test(
  "a file that is cut or replaced is read from its beginning",
  withTail(async (path, tail) => {
    await add(path, '{"a":1}\n{"a":2}\n');
    await tail.read();
    await Deno.truncate(path, 8);
    assertEquals(await tail.read(), { isNew: true, lines: [{ a: 1 }] });
    await Deno.writeTextFile(`${path}.new`, '{"b":1}\n{"b":2}\n{"b":3}\n');
    await Deno.rename(`${path}.new`, path);
    assertEquals(await tail.read(), { isNew: true, lines: [{ b: 1 }, { b: 2 }, { b: 3 }] });
    await Deno.remove(path);
    assertEquals(await tail.read(), { isNew: true, lines: [] });
    assertEquals(await tail.read(), null);
  }),
);

Deno.test(
  "damaged lines are counted and left out",
  withTail(async (path, tail) => {
    await add(path, '{"a":1}\nnonsense\n[1]\nnull\n{"a":2}\n');
    assertEquals(await tail.read(), { isNew: true, lines: [{ a: 1 }, { a: 2 }] });
    assertEquals(tail.damaged, 3);
  }),
);

Deno.test(
  "a character in two parts is one",
  withTail(async (path, tail) => {
    const bytes = new TextEncoder().encode('{"a":"é"}\n');
    await Deno.writeFile(path, bytes.subarray(0, 7), { append: true });
    assertEquals(await tail.read(), { isNew: true, lines: [] });
    await Deno.writeFile(path, bytes.subarray(7), { append: true });
    assertEquals(await tail.read(), { isNew: false, lines: [{ a: "é" }] });
  }),
);

Deno.test("a folder in the file's place is nothing", () =>
  inFolder(async (folder) => {
    assertEquals(await new Tail(folder).read(), null);
  }));
