/** A hundred SIGKILLs, half of them aimed into saves; each time the run goes on. */
import { assert, assertEquals } from "@std/assert";
import { verifySealedFile } from "../../lib/checkpoint/checksums.ts";
import { createRunFolder, openRunFolder, runFolder } from "../../lib/checkpoint/run_folder.ts";
import { loadWeights } from "../../lib/checkpoint/state.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { trainRun } from "../../lib/train/run.ts";
import { equals, inFolder, names } from "../checkpoint/folder.ts";
import { faultOptions, faultRun, stepsAnEpoch } from "./trainer.ts";
import { startTrainer, type TrainerProcess } from "./trainer_process.ts";

const kills = 100;
const saveEvery = 4;
const endless = 100_000;

/** Kills while a state is being written, a random time after its file has appeared. */
async function killInSave(trainer: TrainerProcess, path: string): Promise<void> {
  const watcher = Deno.watchFs(path);
  const patience = setTimeout(() => watcher.close(), 5_000);
  let skip = Math.floor(Math.random() * 3);
  for await (const { kind, paths } of watcher) {
    if (kind !== "create" || !paths.some((name) => /last\.safetensors\.tmp-/.test(name))) continue;
    if (skip-- > 0) continue;
    const until = performance.now() + Math.random() * 4;
    while (performance.now() < until);
    break;
  }
  trainer.kill();
  clearTimeout(patience);
}

Deno.test("100 kills, 100 good resumes", () =>
  inFolder(async (folder) => {
    const path = `${folder}/run`;
    const figures = { resumed: 0, damaged: 0, refused: 0, lost: 0, inSaves: 0, mostLost: 0 };
    let previous = { step: 0, saved: 0 };
    let saves = 0;
    const start = performance.now();
    for (let kill = 0; kill < kills; kill++) {
      const trainer = startTrainer({ path, backend: "wasm", epochs: endless, saveEvery });
      await trainer.until(() => trainer.step >= 0);
      if (trainer.step < 0) throw new Error(`No start after kill ${kill}: ${await trainer.errors}`);
      if (kill > 0) {
        figures.resumed++;
        // A state that was reported as saved is never lost.
        if (trainer.from < previous.saved) figures.lost++;
        figures.mostLost = Math.max(figures.mostLost, previous.step - trainer.from);
        figures.refused += trainer.notices.filter((text) =>
          /damaged|not a valid/.test(text)
        ).length;
      }
      if (kill % 2 === 0) await killInSave(trainer, path);
      else {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 300));
        trainer.kill();
      }
      assertEquals((await trainer.ended()).signal, "SIGKILL", await trainer.errors);
      const left = await names(path);
      if (left.some((name) => name.startsWith("."))) figures.inSaves++;
      for (const name of left.filter((name) => /^[^.].*\.safetensors$/.test(name))) {
        await verifySealedFile(`${path}/${name}`).catch(() => figures.damaged++);
      }
      previous = { step: Math.max(trainer.step, trainer.from), saved: trainer.saved };
      previous.saved = Math.max(previous.saved, trainer.from);
      saves += trainer.saves;
    }

    // To the end of the epoch after the last kill, in one more process.
    const epochs = Math.floor(previous.step / stepsAnEpoch) + 2;
    const last = startTrainer({ path, backend: "wasm", epochs, saveEvery });
    await last.ended();
    assert(last.isDone, await last.errors);
    figures.resumed++;
    if (last.from < previous.saved) figures.lost++;
    console.log(
      `${kills} SIGKILLs in ${Math.round((performance.now() - start) / 1000)} s and ` +
        `${epochs * stepsAnEpoch} steps, ${figures.inSaves} of them within a save: ` +
        `${figures.resumed} good resumes, ${figures.damaged} damaged files under their names, ` +
        `${figures.refused} passed over, ${figures.lost} saved states lost of ${saves}; ` +
        `at most ${figures.mostLost} steps to repeat (a save every ${saveEvery} steps, and the steps ` +
        `of some milliseconds that pass while it is written)`,
    );
    assertEquals([figures.resumed, figures.damaged, figures.refused, figures.lost], [
      kills,
      0,
      0,
      0,
    ]);
    assert(figures.inSaves >= kills / 5, "too few kills have hit a save");
    assert(!(await names(path)).includes("lock.json"));

    // And it is the run that was never killed.
    await selectBackend("wasm");
    const config = { ...faultRun, epochs };
    assertEquals((await openRunFolder(path)).config, config);
    const straight = await createRunFolder(`${folder}/straight`, config);
    await trainRun({ ...faultOptions(), config, folder: straight });
    const [killed, whole] = [runFolder(path), straight];
    for (const file of ["last", "history"] as const) {
      const bytes = await Promise.all([killed, whole].map((run) => Deno.readFile(run[file])));
      // Not assertEquals, which would try to show the difference.
      assert(equals(bytes[0]!, bytes[1]!), `${file} differs`);
    }
    // It may be of a process that was to train longer, and says so.
    const { config: _, configHash: __, ...best } = await loadWeights(killed.best);
    const { config: ___, configHash: ____, ...expected } = await loadWeights(whole.best);
    assertEquals(best, expected);
    console.log(`the run killed ${kills} times equals the one never killed, byte for byte`);
  }));
