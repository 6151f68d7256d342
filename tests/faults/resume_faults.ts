/** A run that is killed within an epoch and goes on is the run that never stopped, byte for byte. */
import { assert, assertEquals } from "@std/assert";
import { createRunFolder } from "../../lib/checkpoint/run_folder.ts";
import type { BackendName } from "../../lib/backend/select.ts";
import { trainRun } from "../../lib/train/run.ts";
import { forEachBackend } from "../backends.ts";
import { equals, inFolder } from "../checkpoint/folder.ts";
import { faultOptions, faultRun, stepsAnEpoch } from "./trainer.ts";
import { startTrainer } from "./trainer_process.ts";

/** How long the run is and how often it is killed; a step on wasm takes some milliseconds. */
const plans: Partial<Record<BackendName, { epochs: number; rounds: number }>> = {
  wasm: { epochs: 12, rounds: 5 },
  webgpu: { epochs: 4, rounds: 3 },
};
const files = ["last.safetensors", "best.safetensors", "history.jsonl"];

forEachBackend("2N steps, and N, kill, N: one run", async (backend) => {
  await inFolder(async (folder) => {
    const { epochs, rounds } = plans[backend]!;
    const config = { ...faultRun, epochs };
    const straight = await createRunFolder(`${folder}/straight`, config);
    // Reading rarely, and in this process: neither may matter.
    await trainRun({ ...faultOptions(), config, folder: straight, readInterval: 1e9 });
    const total = epochs * stepsAnEpoch;
    for (let round = 0; round < rounds; round++) {
      const path = `${folder}/${round}`;
      // In the first half: where a step is faster than a save, the kill comes some steps later.
      const killAt = 1 + Math.floor(Math.random() * total / 2);
      const saveEvery = 1 + Math.floor(Math.random() * 3);
      const first = startTrainer({ path, backend, epochs, saveEvery, killAt });
      assertEquals((await first.ended()).signal, "SIGKILL", await first.errors);
      const second = startTrainer({ path, backend, epochs, saveEvery });
      await second.ended();
      assert(second.isDone, await second.errors);
      assertEquals(second.from, first.saved);
      assert(second.from % stepsAnEpoch !== 0, "it was not killed within an epoch");
      for (const file of files) {
        const [killed, whole] = await Promise.all(
          [path, straight.path].map((run) => Deno.readFile(`${run}/${file}`)),
        );
        assert(equals(killed!, whole!), `${file} of the run killed at step ${second.from} differs`);
      }
      console.log(
        `${backend}: killed at step ${first.step} of ${total}, resumed from ${second.from}: ` +
          `weights, moments and history lines identical`,
      );
    }
  });
}, { backends: ["wasm", "webgpu"] });
