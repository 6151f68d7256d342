/** Hostile files of every kind: refused in a sentence, in under a second and under 200 MB. */
import { assert, assertEquals } from "@std/assert";
import { hostileSafetensors } from "../checkpoint/hostile.ts";
import { inFolder, names } from "../checkpoint/folder.ts";
import { type HostileFile, hostileFiles, type Reader } from "./hostile_files.ts";
import type { Refusal, Task } from "./refuser.ts";

const maxMs = 1000;
const maxBytes = 200e6;

async function writeTask(file: HostileFile, folder: string, index: number): Promise<Task> {
  const { name, reader, bytes, length } = file;
  const scratch = `${folder}/scratch`;
  let path = `${folder}/${index}`;
  let place = path;
  if (reader === "run" || reader === "layers") {
    await Deno.mkdir(path);
    place = `${path}/${reader === "run" ? "config" : "model"}.json`;
  } else if (reader === "archive") place = path = `${path}.tar.gz`;
  await Deno.writeFile(place, bytes);
  // A file with a hole takes no room on the disk.
  if (length !== undefined) await Deno.truncate(place, length);
  return { name, reader, path, scratch };
}

/** Has a process of its own read the files. */
async function refusalsOf(tasks: Task[], folder: string): Promise<Refusal[]> {
  await Deno.writeTextFile(`${folder}/tasks.json`, JSON.stringify(tasks));
  const { stdout, stderr } = await new Deno.Command("deno", {
    args: [
      ...["run", "-A", "--no-check", "--v8-flags=--expose-gc"],
      ...[new URL("refuser.ts", import.meta.url).pathname, `${folder}/tasks.json`],
    ],
    env: { NO_COLOR: "1" },
  }).output();
  const lines = new TextDecoder().decode(stdout).split("\n").filter(Boolean);
  assertEquals(lines.length, tasks.length, new TextDecoder().decode(stderr));
  return lines.map((line) => JSON.parse(line) as Refusal);
}

Deno.test("hostile files are refused at once and in little memory", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/scratch`);
    const files = await hostileFiles();
    const tasks: Task[] = [];
    for (const [index, file] of files.entries()) {
      tasks.push(await writeTask(file, folder, index));
    }
    // The peak of a process counts what earlier files have left, so the large ones go alone.
    const isSmall = (_: Task, index: number) => index < hostileSafetensors.length;
    const groups = [
      tasks.filter(isSmall),
      ...tasks.filter((task, index) => !isSmall(task, index)).map((task) => [task]),
    ];
    const refusals: Refusal[] = [];
    for (const group of groups) refusals.push(...await refusalsOf(group, folder));
    const faults: string[] = [];
    for (const { name, error, ms, peak } of refusals) {
      const figures = `${Math.round(ms)} ms, ${Math.round(peak / 1e6)} MB`;
      if (error === null) faults.push(`${name}: accepted (${figures})`);
      else if (error[0] !== "UserError") faults.push(`${name}: ${error.join(": ")} (${figures})`);
      else if (error[1].length > 1000 || error[1].trim().includes("\n")) {
        faults.push(`${name}: no sentence: ${error[1].slice(0, 200)}`);
      }
      if (ms >= maxMs || peak >= maxBytes) faults.push(`${name}: ${figures}`);
    }
    assertEquals(faults, []);
    assertEquals(await names(`${folder}/scratch`), []);
    const most = (of: (refusal: Refusal) => number) =>
      refusals.reduce((a, b) => of(b) > of(a) ? b : a);
    const [slowest, largest] = [most(({ ms }) => ms), most(({ peak }) => peak)];
    console.log(
      `${refusals.length} hostile files refused; the slowest in ${Math.round(slowest.ms)} ms ` +
        `(${slowest.name}), the most memory ${Math.round(largest.peak / 1e6)} MB, the process's ` +
        `own included (${largest.name})`,
    );
    assert(refusals.length >= 40);
  }));

Deno.test({
  name: "a fifo in the place of any file is refused at once and waits for nobody",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      await Deno.mkdir(`${folder}/scratch`);
      const tasks: Task[] = [];
      for (const [reader, name] of Object.entries(fifoNames)) {
        const path = `${folder}/${reader}`;
        if (name !== null) await Deno.mkdir(path);
        const place = name === null ? path : `${path}/${name}`;
        const { success } = await new Deno.Command("bash", { args: ["-c", `mkfifo "${place}"`] })
          .output();
        assert(success);
        tasks.push({ name: reader, reader: reader as Reader, path, scratch: `${folder}/scratch` });
      }
      for (const { name, error, ms } of await refusalsOf(tasks, folder)) {
        assertEquals(error?.[0], "UserError", name);
        assert(/is a fifo/.test(error![1]), error![1]);
        assert(ms < maxMs, `${name}: ${ms} ms`);
      }
    }),
});

/** The file that each reader reads, within its folder where it takes one. */
const fifoNames: Partial<Record<Reader, string | null>> = {
  ...{ safetensors: null, state: null, weights: null, plain: null, archive: null },
  ...{ history: null, run: "config.json", layers: "model.json" },
};
