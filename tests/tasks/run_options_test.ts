import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { UserError } from "../../lib/errors.ts";
import { readRunConfig } from "../../tasks/run_options.ts";

/** The options, read as those of a new run, and what was said meanwhile. */
async function read(options: Record<string, string>) {
  const notices: string[] = [];
  const config = await readRunConfig(options, undefined, (text) => notices.push(text));
  return { config, notices };
}

Deno.test("a preset's warm-up stays its share of a run that is shorter than it", async () => {
  for (const name of ["compact", "strong", "finetune"]) {
    const { warmupEpochs, epochs } = (await read({ preset: name })).config;
    const { config, notices } = await read({ preset: name, epochs: "1" });
    if (warmupEpochs <= 1) {
      assertEquals(config.warmupEpochs, warmupEpochs);
      continue;
    }
    assertAlmostEquals(config.warmupEpochs, warmupEpochs / epochs, 1e-12);
    assertEquals(notices.length, 1);
  }
});

Deno.test("a preset's warm-up that a run has room for stays as it is, unsaid", async () => {
  const { config, notices } = await read({ preset: "compact", epochs: "2" });
  assertEquals([config.warmupEpochs, notices], [1.6, []]);
});

Deno.test("a warm-up that somebody asks for is refused where a run is shorter", async () => {
  const asked = read({ preset: "compact", epochs: "1", warmupEpochs: "1.6" });
  await assertRejects(() => asked, UserError, "--warmup-epochs 1.6 is longer than the run");
});
