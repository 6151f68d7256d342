/** A disk that takes no more in the middle of a save, and a folder that may not be written to. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { loadState } from "../../lib/checkpoint/state.ts";
import { equals, inFolder, names } from "../checkpoint/folder.ts";
import { projectRoot, runTaskWell, smallRun } from "../tasks/run_task.ts";

/** Resumes a run in a shell that has been set up by `setUp`; its code and what it said. */
async function resumeIn(setUp: string, run: string): Promise<{ code: number; stderr: string }> {
  const { code, stderr } = await new Deno.Command("bash", {
    args: [
      "-c",
      `${setUp}; exec "$0" "$@"`,
      ...["deno", "run", "-A", "tasks/train.ts", "--resume", run],
      ...["--epochs", "3", "--backend", "wasm"],
    ],
    cwd: projectRoot,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr).trimEnd() };
}

Deno.test({
  name: "a disk that takes no more: a sentence, exit code 2, and the saved state as it was",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    inFolder(async (folder) => {
      const run = `${folder}/run`;
      await runTaskWell("train", [...smallRun, "--out", run]);
      const before = await Deno.readFile(`${run}/last.safetensors`);
      // No file may grow above 100 blocks of 1 KiB: the error comes from the system, half way through.
      const full = await resumeIn('trap "" XFSZ; ulimit -f 100', run);
      const lines = full.stderr.split("\n");
      assertEquals([lines.length, full.code], [1, 2], full.stderr);
      assert(lines[0]!.startsWith(`error: Cannot write ${run}/`), full.stderr);
      assertStringIncludes(lines[0]!, "choose another disk");
      assert(equals(await Deno.readFile(`${run}/last.safetensors`), before));
      assertEquals((await names(run)).filter((name) => /^\.|lock/.test(name)), []);

      const { code, stderr } = await resumeIn("true", run);
      assertEquals(code, 0, stderr);
      assertEquals((await loadState(`${run}/last.safetensors`)).step, 6);
      const said = await resumeIn("exec > /dev/full", run);
      const sentence = "error: Cannot write to the standard output: the disk is full; free some " +
        "space and start again.";
      assertEquals([said.code, said.stderr], [2, sentence]);
      console.log("a save cut off by the system at 100 KiB: refused in a sentence, state intact");
    }),
});

Deno.test({
  name: "a run in a folder that may not be written to is refused before it is trained",
  // The superuser may write anywhere.
  ignore: Deno.build.os === "windows" || Deno.uid() === 0,
  fn: () =>
    inFolder(async (folder) => {
      const run = `${folder}/run`;
      await runTaskWell("train", [...smallRun, "--out", run]);
      await Deno.chmod(run, 0o500);
      const { code, stderr } = await resumeIn("true", run);
      await Deno.chmod(run, 0o700);
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, `Cannot write ${run}/lock.json: this user has no permission`);
    }),
});
