import { assert, assertEquals, assertRejects } from "@std/assert";
import { lockPath, lockRun } from "../../lib/checkpoint/lock.ts";
import { UserError } from "../../lib/errors.ts";
import { inFolder, names } from "./folder.ts";

/** A process that takes the lock, says so, and holds it until it is killed. */
async function holder(folder: string): Promise<Deno.ChildProcess> {
  const program = `
    import { lockRun } from "${import.meta.resolve("../../lib/checkpoint/lock.ts")}";
    await lockRun("${folder}");
    console.log("locked");
    setInterval(() => {}, 1000);`;
  const child = new Deno.Command("deno", {
    // The permissions of the train task, and no others.
    args: ["run", "--no-check", "--allow-read", "--allow-write", "-"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(program));
  await writer.close();
  const reader = child.stdout.getReader();
  assertEquals(new TextDecoder().decode((await reader.read()).value), "locked\n");
  await reader.cancel();
  return child;
}

Deno.test("a lock names its process, keeps others out, and is gone at its end", () =>
  inFolder(async (folder) => {
    {
      await using lock = await lockRun(folder);
      assertEquals([lock.isHeld, lock.takenFrom], [true, undefined]);
      assertEquals(JSON.parse(await Deno.readTextFile(lockPath(folder))).pid, Deno.pid);
      const { message } = await assertRejects(() => lockRun(folder), UserError);
      const expected = new RegExp(
        `^The run \\S+ is being trained by process ${Deno.pid} \\(since `,
      );
      assert(expected.test(message), message);
      assert(message.includes(folder), message);
      // The refused one has changed nothing.
      assertEquals(JSON.parse(await Deno.readTextFile(lockPath(folder))).pid, Deno.pid);
    }
    assertEquals(await names(folder), []);
    const again = await lockRun(folder);
    await again.release();
    await again.release();
    assertEquals(await names(folder), []);
  }));

Deno.test("another process is kept out while the owner lives, and takes over when it is killed", () =>
  inFolder(async (folder) => {
    const owner = await holder(folder);
    await assertRejects(() => lockRun(folder), UserError, `by process ${owner.pid} (since `);
    owner.kill("SIGKILL");
    await owner.status;
    assertEquals(await names(folder), ["lock.json"]);
    await using lock = await lockRun(folder);
    assertEquals(lock.takenFrom, owner.pid);
  }));

Deno.test("a process id that another process has now keeps nobody out", () =>
  inFolder(async (folder) => {
    const since = "2020-01-01T00:00:00.000Z";
    await Deno.writeTextFile(lockPath(folder), JSON.stringify({ pid: Deno.pid, since }));
    await using lock = await lockRun(folder);
    assertEquals(lock.takenFrom, Deno.pid);
  }));

Deno.test("a lock file that says nothing usable is taken all the same", () =>
  inFolder(async (folder) => {
    for (const text of ["", "{", "[]", "null", '{"pid":"1"}', '{"pid":1}', "x".repeat(100_000)]) {
      await Deno.writeTextFile(lockPath(folder), text);
      await using lock = await lockRun(folder);
      assertEquals(lock.takenFrom, undefined);
      assert((await Deno.stat(lockPath(folder))).size < 200);
    }
  }));

Deno.test("of many at once, one gets the lock", () =>
  inFolder(async (folder) => {
    for (let round = 0; round < 20; round++) {
      const all = await Promise.allSettled(Array.from({ length: 8 }, () => lockRun(folder)));
      const held = all.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
      assertEquals(held.length, 1);
      await held[0]!.release();
    }
  }));

Deno.test("a folder that is not there is named", () =>
  inFolder(async (folder) => {
    await assertRejects(() => lockRun(`${folder}/none`), UserError, `${folder}/none/lock.json`);
  }));

Deno.test("a lock is not written through a link, and says so", () =>
  inFolder(async (folder) => {
    const victim = `${folder}/victim`;
    await Deno.mkdir(`${folder}/run`);
    const path = lockPath(`${folder}/run`);
    await Deno.writeTextFile(victim, "mine");
    await Deno.symlink("../victim", path);
    await assertRejects(() => lockRun(`${folder}/run`), UserError, `${path} is a link`);
    await Deno.remove(path);
    await Deno.link(victim, path);
    await assertRejects(() => lockRun(`${folder}/run`), UserError, "is the same file as another");
    assertEquals(await Deno.readTextFile(victim), "mine");
    // A run folder that is itself a link is a user's own way.
    await Deno.remove(path);
    await Deno.symlink(`${folder}/run`, `${folder}/link`);
    await (await lockRun(`${folder}/link`)).release();
    assertEquals(await names(`${folder}/run`), []);
  }));

Deno.test("a lock notices that its folder was moved, removed or replaced", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    for (const change of ["moved", "removed", "replaced"]) {
      await Deno.mkdir(run);
      const lock = await lockRun(run);
      await lock.check();
      if (change === "removed") await Deno.remove(run, { recursive: true });
      else await Deno.rename(run, `${folder}/${change}`);
      const other = change === "replaced" ? await Deno.mkdir(run).then(() => lockRun(run)) : null;
      const says = `The run ${run} was moved, removed or replaced`;
      await assertRejects(() => lock.check(), UserError, says);
      await lock.release();
      await lock.check();
      // The lock of the other folder is not taken away.
      if (other) {
        await other.check();
        await other.release();
      }
      await Deno.remove(run, { recursive: true }).catch(() => {});
    }
  }));
