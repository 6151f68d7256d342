/** Preparing pictures while the process is killed again and again, or the disk takes no more. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { encodePng } from "../../lib/report/encode_png.ts";
import { contents } from "../data/prepared/sets.ts";
import { inFolder, listing } from "../data/fixtures.ts";
import { projectRoot } from "../tasks/run_task.ts";

const kills = 20;

/** Writes 300 noisy pictures of three classes, one in a hundred broken. */
async function writePhotos(folder: string): Promise<void> {
  for (const name of ["ash", "beech", "oak"]) {
    await Deno.mkdir(`${folder}/${name}`, { recursive: true });
    for (let n = 0; n < 100; n++) {
      const [width, height] = [200 + 3 * n, 300];
      const data = new Uint8Array(width * height * 3);
      for (let i = 0; i < data.length; i += 65_536) {
        crypto.getRandomValues(data.subarray(i, i + 65_536));
      }
      const bytes = encodePng({ width, height, channels: 3, data });
      await Deno.writeFile(`${folder}/${name}/${n}.png`, n === 50 ? bytes.subarray(0, 900) : bytes);
    }
  }
}

/** `deno task data` on these pictures, at a size of which few fit a shard. */
function preparing(photos: string, root: string, setUp = "true"): Deno.Command {
  return new Deno.Command("bash", {
    args: [
      "-c",
      `${setUp}; exec "$0" "$@"`,
      ...["deno", "run", "-A", "tasks/data.ts", "--dataset", `folder:${photos}`],
      ...["--root", root, "--stored-size", "256"],
    ],
    cwd: projectRoot,
    env: { NO_COLOR: "1" },
    ...{ stdin: "null", stdout: "null", stderr: "piped" },
  });
}

async function prepared(photos: string, root: string): Promise<Record<string, Uint8Array>> {
  const { code, stderr } = await preparing(photos, root).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const [name, ...others] = await listing(`${root}/prepared`);
  assertEquals(others, []);
  return contents(`${root}/prepared/${name}`);
}

Deno.test({
  name: `killed ${kills} times at random moments, it ends with the same bytes`,
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      await writePhotos(`${folder}/photos`);
      const start = performance.now();
      const whole = await prepared(`${folder}/photos`, `${folder}/undisturbed`);
      const took = performance.now() - start;
      assertEquals(Object.keys(whole).filter((name) => name.endsWith(".shard")).length, 8);
      let shards = 0;
      for (let kill = 0; kill < kills; kill++) {
        const child = preparing(`${folder}/photos`, `${folder}/killed`).spawn();
        const errors = child.stderr.text();
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 1.2 * took));
        try {
          child.kill("SIGKILL");
        } catch {
          // It was faster.
        }
        await child.status;
        await errors;
        const [name] = await listing(`${folder}/killed/prepared`).catch(() => []);
        const files = name ? await listing(`${folder}/killed/prepared/${name}`) : [];
        const count = files.filter((file) => file.endsWith(".shard")).length;
        assert(count >= shards, "what was whole is kept");
        shards = count;
        // The rest of the kills should meet work too.
        if (count === 8) await Deno.remove(`${folder}/killed`, { recursive: true });
        if (count === 8) shards = 0;
      }
      assertEquals(await prepared(`${folder}/photos`, `${folder}/killed`), whole);
      console.log(`killed ${kills} times within ${Math.round(1.2 * took)} ms: the same bytes`);
    }),
});

Deno.test({
  name: "a disk that takes no more: a sentence, and nothing half-made is taken for whole",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const photos = `${folder}/photos`;
      await writePhotos(photos);
      const whole = await prepared(photos, `${folder}/whole`);
      // No file may grow above 4096 blocks of 1 KiB, and a shard has 8 MiB.
      const full = preparing(photos, `${folder}/full`, 'trap "" XFSZ; ulimit -f 4096');
      const { code, stderr } = await full.output();
      const text = new TextDecoder().decode(stderr).trimEnd();
      const last = text.split("\n").at(-1)!;
      assertEquals(code, 2, text);
      assert(last.startsWith(`error: Cannot write ${folder}/full/prepared/`), text);
      assertStringIncludes(last, "choose another disk");
      const [name] = await listing(`${folder}/full/prepared`);
      const files = await listing(`${folder}/full/prepared/${name}`);
      assertEquals(files.filter((file) => /shard|tmp/.test(file)), []);
      assertEquals(await prepared(photos, `${folder}/full`), whole);
      console.log("a shard cut off by the system at 4 MiB: refused in a sentence, nothing left");
    }),
});
