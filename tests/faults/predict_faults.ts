/** Many large photographs, classified in the memory of one. */
import { assert, assertEquals } from "@std/assert";
import { inFolder } from "../data/fixtures.ts";
import { gradient, jpegFile } from "../data/image/files.ts";
import { projectRoot, runTaskWell, smallRun } from "../tasks/run_task.ts";

/** Photographs of 12 megapixels. */
const few = 4;
const many = 16;
/** Bytes: Deno, the wasm backend, the model and the decoder with one photograph. */
const bound = 300e6;
/** The peak may differ by so many bytes; one such photograph has 36 MB of pixels. */
const tolerance = 30e6;

/** Classifies a folder; the lines and the peak of the process's memory. */
async function predicted(run: string, photos: string): Promise<[lines: number, peak: number]> {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: [
      ...["run", "-A", "--no-check", "tests/faults/predictor.ts", run, photos],
      ...["--table", "--backend", "wasm"],
    ],
    cwd: projectRoot,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const [lines, errors] = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes).trimEnd().split("\n")
  );
  assertEquals([code, errors!.length], [0, 1], errors!.join("\n"));
  return [lines!.length, Number(errors![0])];
}

Deno.test({
  name: `${many} photographs of 12 megapixels take no more memory than ${few}, and under 300 MB`,
  ignore: Deno.build.os !== "linux",
  fn: () =>
    inFolder(async (folder) => {
      const run = `${folder}/run`;
      await runTaskWell("train", [...smallRun, "--out", run]);
      const photo = await jpegFile(gradient(4000, 3000), { quality: 90 });
      const peaks: number[] = [];
      for (const count of [few, many]) {
        const photos = `${folder}/${count}`;
        await Deno.mkdir(photos);
        for (let i = 0; i < count; i++) await Deno.writeFile(`${photos}/${i}.jpg`, photo);
        const [lines, peak] = await predicted(run, photos);
        assertEquals(lines, count);
        peaks.push(peak);
      }
      const [ofFew, ofMany] = peaks as [number, number];
      const mb = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;
      console.log(`predict on wasm: ${few} photographs ${mb(ofFew)}, ${many} ${mb(ofMany)}`);
      assert(ofMany < bound, `a peak of ${mb(ofMany)}`);
      assert(ofMany < ofFew + tolerance, `from ${mb(ofFew)} to ${mb(ofMany)}`);
    }),
});
