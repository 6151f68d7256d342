import { assertEquals } from "@std/assert";
import { inFolder } from "../data/fixtures.ts";
import { readEvents } from "../report/tensorboard/event_reader.ts";
import { jsonLines, runTask, runTaskWell, smallRun } from "./run_task.ts";

Deno.test("train --tensorboard writes event files, and a run that goes on shows no step twice", () =>
  inFolder(async (folder) => {
    const [out, board] = [`${folder}/a<b>`, `${folder}/board`];
    const options = ["--tensorboard", board, "--json"];
    const first = jsonLines(await runTaskWell("train", [...smallRun, "--out", out, ...options]));
    // As the file of another second; names sort by the time.
    const resumed = ["--resume", out, "--epochs", "2", "--backend", "wasm", "--no-report"];
    const second = jsonLines(await runTaskWell("train", [...resumed, ...options]));

    const names = (await Array.fromAsync(Deno.readDir(`${board}/a<b>`))).map(({ name }) => name);
    const files = await Promise.all(
      names.sort().map(async (name) => readEvents(await Deno.readFile(`${board}/a<b>/${name}`))),
    );
    assertEquals(files.map(([version]) => version!.fileVersion), [
      "brain.Event:2",
      "brain.Event:2",
    ]);
    // TensorBoard forgets all from the step of this event on; two steps are done.
    assertEquals([files[1]![1]!.sessionStatus, files[1]![1]!.step], [1, 3]);
    const seen = (tag: string) =>
      files.map((events) =>
        events.flatMap(({ step, values }) =>
          values.filter((value) => value.tag === tag).map(({ simpleValue }) => [step, simpleValue])
        )
      );
    const [one, two] = [first, second].map((lines) => lines.find(({ epoch }) => epoch));
    assertEquals(seen("val/accuracy"), [
      [[2, Math.fround(one.valAccuracy)]],
      [[4, Math.fround(two.valAccuracy)]],
    ]);
    assertEquals(seen("train/images").map(({ length }) => length), [1, 1]);
    assertEquals(seen("test/loss").map(([value]) => value![0]), [2, 4]);
  }));

Deno.test("a folder for event files that is a file ends no training, and is named", () =>
  inFolder(async (folder) => {
    const board = `${folder}/board`;
    await Deno.writeTextFile(board, "");
    const args = [...smallRun, "--out", `${folder}/a`, "--tensorboard", board];
    const { code, stdout } = await runTask("train", args);
    assertEquals([code, stdout.includes(`Cannot write ${board}/a/events.out`)], [0, true], stdout);
  }));
