/** `deno task report`: a run as one page, with its curves, its mistakes and what it looks at. */
import { openRunFolder } from "../lib/checkpoint/run_folder.ts";
import { selectBackend } from "../lib/backend/select.ts";
import { UserError } from "../lib/errors.ts";
import { newCommand, parseArguments, quietText, runTask } from "./cli.ts";
import { deviceDataText, loadRunData } from "./data_options.ts";
import { Lines } from "./lines.ts";
import { screen } from "./output.ts";
import { askToReach, askToWrite } from "./permissions.ts";
import { findRun } from "./run_weights.ts";
import { writeReport } from "./write_report.ts";

await runTask(async () => {
  const command = parseArguments(
    newCommand("report", "Show a run as one page that needs nothing beside it.")
      .argument("<run>", "the run's folder")
      .option(
        "--out <folder>",
        "where to put report.html and its pictures; default: the run's folder",
      )
      .option("--backend <name>", "auto, webgpu, wasm or cpu", "auto")
      .option("--data <source>", "folder, archive or URL of the data set; default: data/")
      .option("--md5 <sum>", "checksum of the archive, or none; default: the official one")
      .option("--device-data <bytes>", deviceDataText, "auto")
      .option(
        "--limit <n>",
        "test only the first n images, 0: all; default: all, but 1000 without a GPU",
      )
      .option("-q, --quiet", quietText, false)
      .option("--json", "print one JSON object", false)
      .addHelpText(
        "after",
        "\nA run that is complete has tested its images, and they are not tested again. The pictures of\n" +
          "the page lie beside it as files, SVG or PNG; an older report is replaced.\n\n" +
          "Example: deno task report runs/my-run",
      ),
  );
  const options = command.opts();
  const most = limitOf(options.limit);
  await askToReach("--data", options.data);
  const { folder } = await findRun(command.processedArgs[0]);
  const { run, config } = await openRunFolder(folder);
  const out = options.out ?? run.path;
  await askToWrite("--out", out);
  const lines = new Lines(screen, options.json, undefined, options.quiet);
  const choice = await selectBackend(options.backend);
  lines.remark(`Backend ${choice.reason}`);
  lines.progress("Making the report …");
  const report = await writeReport({
    ...{ run, config, out, most },
    loadData: () => loadRunData(config, options, (text) => lines.notice(text)),
    onBatch: (done, count) => lines.evaluation("Testing", done, count),
  });
  lines.say(options.json ? JSON.stringify({ run: run.path, report }) : `Report: ${report}`);
  Deno.exit(0);
});

function limitOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UserError(`Option --limit cannot be "${text}"; give a number of images, or 0 for all.`);
}
