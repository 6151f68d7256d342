/** Standard output that is a full disk, or a pipe whose reader has gone. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { loadState } from "../../lib/checkpoint/state.ts";
import { UserError } from "../../lib/errors.ts";
import { OutputClosed, print } from "../../tasks/output.ts";
import { inFolder } from "../data/fixtures.ts";
import { exists, smallRun, taskCommand } from "./run_task.ts";

const ignore = Deno.build.os !== "linux";

/** Lets every write to standard output fail while the function runs. */
function withFailingOutput(error: Error, test: () => void): void {
  const { writeSync } = Deno.stdout;
  Deno.stdout.writeSync = () => {
    throw error;
  };
  try {
    test();
  } finally {
    Deno.stdout.writeSync = writeSync;
  }
}

Deno.test({
  name: "a full disk under standard output is a sentence",
  ignore,
  fn: () =>
    withFailingOutput(new Error("No space left on device (os error 28)"), () => {
      const message = "Cannot write to the standard output: the disk is full";
      assertThrows(() => print("x"), UserError, message);
    }),
});

Deno.test("a reader that has gone is no fault of anybody's", () =>
  withFailingOutput(new Deno.errors.BrokenPipe(), () => {
    assertThrows(() => print("x"), OutputClosed);
  }));

Deno.test({
  name: "the run is saved, and nothing said, when nobody reads the output any more",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const out = `${folder}/run`;
      const endless = [...smallRun, "--epochs", "9999", "--json", "--out", out];
      await using child = taskCommand("train", endless).spawn();
      const errors = new Response(child.stderr).text();
      const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      while (!text.includes('"epoch":1,')) text += (await reader.read()).value;
      await reader.cancel();
      const { code } = await child.status;
      assertEquals([code, await errors], [141, ""]);
      assert((await loadState(`${out}/last.safetensors`)).step >= 2);
      assert(!await exists(`${out}/lock.json`));
    }),
});
