/** Each example runs by the command that stands in it, from the project's folder. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { ignoreWebgpu } from "./backends.ts";
import { inFolder } from "./checkpoint/folder.ts";
import { hostileModel, writeRun } from "./export/runs.ts";
import { projectRoot } from "./tasks/run_task.ts";

const examples = `${projectRoot}examples`;
/** The one that has no command: tests/browser/example_browser.ts runs it. */
const page = "browser.html";

/** For each example what it is given, and what it says last. */
const runs: Record<string, { args?: (folder: string) => Promise<string[]>; says: RegExp }> = {
  "capture.ts": { says: /^Step 200: loss 0\.00\d\d$/ },
  "own_callback.ts": { says: /^The loss fell below 4\.5\.$/ },
  "own_layer.ts": { says: /^\d{5} parameters, loss [45]\.\d\d$/ },
  "predict.ts": {
    args: async (folder) => [
      await writeRun(`${folder}/run`, hostileModel),
      "tests/data/pictures/plain.png",
    ],
    says: /^ +\d+\.\d % {2}/,
  },
  "train_arrays.ts": { says: /^Test accuracy: 100\.0 %$/ },
  "train_folder.ts": {
    args: (folder) => Promise.resolve(["tests/data/photos", `${folder}/run`]),
    says: /^Test accuracy: \d+\.\d %; see deno task eval /,
  },
};

Deno.test("every example is run by a test, and has 10 to 40 lines", async () => {
  const names = (await Array.fromAsync(Deno.readDir(examples), ({ name }) => name)).sort();
  assertEquals(names, [page, ...Object.keys(runs)].sort());
  for (const name of names) {
    const { length } = (await Deno.readTextFile(`${examples}/${name}`)).trimEnd().split("\n");
    assert(length >= 10 && length <= 40, `${name} has ${length} lines`);
  }
});

for (const [name, { args, says }] of Object.entries(runs)) {
  Deno.test({
    name: `examples/${name} does what it says`,
    ignore: name === "capture.ts" && ignoreWebgpu,
    fn: () =>
      inFolder(async (folder) => {
        const text = await Deno.readTextFile(`${examples}/${name}`);
        const [, flags] = /^\/\/ deno run ((?:--\S+ )*)examples\//m.exec(text)!;
        const { code, stdout, stderr } = await new Deno.Command("deno", {
          args: [
            ...["run", "--no-prompt", ...flags!.split(" ").filter(Boolean)],
            `examples/${name}`,
            ...await args?.(folder) ?? [],
          ],
          cwd: projectRoot,
          env: { NO_COLOR: "1" },
          stdin: "null",
        }).output();
        assertEquals(code, 0, new TextDecoder().decode(stderr));
        assertMatch(new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1)!, says);
      }),
  });
}
