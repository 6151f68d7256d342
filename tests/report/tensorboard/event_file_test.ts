import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { preset } from "../../../lib/config/run.ts";
import { UserError } from "../../../lib/errors.ts";
import { EventFile } from "../../../lib/report/tensorboard/event_file.ts";
import { writeConfiguration, writeStrip } from "../../../lib/report/tensorboard/run_events.ts";
import { inFolder } from "../../data/fixtures.ts";
import { readEvents, type ReadValue } from "./event_reader.ts";

/** Writes a file and reads it back. */
async function written(step: number, write: (file: EventFile) => void) {
  let events: Awaited<ReturnType<typeof readEvents>> = [];
  await inFolder(async (folder) => {
    const file = new EventFile({ folder: `${folder}/run`, step, now: () => 1_700_000_000_500 });
    write(file);
    await file.close();
    const [{ name }] = await Array.fromAsync(Deno.readDir(`${folder}/run`)) as [Deno.DirEntry];
    assertEquals(name, `events.out.tfevents.1700000000.deno-vit.${Deno.pid}.${step}`);
    events = readEvents(await Deno.readFile(`${folder}/run/${name}`));
  });
  return events;
}

Deno.test("a file begins with its version, and scalars follow at their step", async () => {
  const [version, event, ...rest] = await written(0, (file) => {
    file.scalars(7, { "train/loss": 1.5, "val/loss": null, zero: 0, "not/finite": NaN });
  });
  assertEquals(version!.fileVersion, "brain.Event:2");
  assertAlmostEquals(version!.wallTime, 1_700_000_000.5, 1e-3);
  assertEquals([event!.step, rest], [7, []]);
  assertEquals(event!.values.map(({ tag, simpleValue }) => [tag, simpleValue]), [
    ["train/loss", 1.5],
    ["zero", 0],
  ]);
});

Deno.test("nothing but what is absent writes no event", async () => {
  assertEquals((await written(0, (file) => file.scalars(1, { a: null }))).length, 1);
});

Deno.test("a run that goes on tells first which steps come again", async () => {
  const [, start] = await written(40, (file) => file.scalars(41, { a: 1 }));
  assertEquals([start!.step, start!.sessionStatus], [41, 1]);
});

Deno.test("the configuration is a text and the strip a PNG", async () => {
  const [, text, image] = await written(0, (file) => {
    writeConfiguration(file, 0, { ...preset("tiny"), dataset: "folder:a|b" });
    const data = new Uint8Array(24).fill(200);
    writeStrip(file, 0, { width: 4, height: 2, channels: 3, data });
  });
  const [{ plugin, strings }] = text!.values as [ReadValue];
  assertEquals(plugin, "text");
  assertEquals(strings[0]!.includes('| dataset           | "folder:a\\|b" |'), true, strings[0]);
  const [{ tag, image: picture }] = image!.values as [ReadValue];
  assertEquals([tag, picture!.width, picture!.height], ["train/images", 4, 2]);
  assertEquals([...picture!.png.subarray(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
});

Deno.test("a folder that cannot be made ends the file with a sentence, not the training", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/file`, "");
    const file = new EventFile({ folder: `${folder}/file/run`, step: 0, now: () => 0 });
    file.scalars(1, { a: 1 });
    await assertRejects(() => file.close(), UserError, "file");
  }));
