/** `deno task data`: fetches, checks and unpacks a data set. */
import { Option } from "@commander-js/extra-typings";
import { loadDataset } from "../lib/data/load.ts";
import { datasetNames } from "../lib/data/sources.ts";
import { newCommand, parseArguments, runTask } from "./cli.ts";
import { showDataProgress } from "./data_progress.ts";
import { print } from "./output.ts";
import { askToReach, askToWrite } from "./permissions.ts";

await runTask(async () => {
  const command = parseArguments(
    newCommand("data", "Fetches, checks and unpacks a data set.")
      .addOption(
        new Option("--dataset <name>", "which data set")
          .choices(datasetNames)
          .default("cifar100" as const),
      )
      .option("--data <source>", "a folder, a .tar.gz archive or a URL of one, to use instead")
      .option("--md5 <sum>", "the archive's MD5, or none; by default that of the official archive")
      .option("--root <folder>", "where data is kept", "data")
      .option("--json", "print one JSON object", false),
  );
  const { json, ...options } = command.opts();
  await askToReach("--data", options.data);
  await askToWrite("--root", options.root);

  const { onProgress, stop } = showDataProgress();
  try {
    const { name, height, width, channels, classNames, train, test, identity } = await loadDataset({
      ...options,
      labels: "fine",
      onProgress,
    });
    stop();
    if (json) {
      const counts = { train: train.count, test: test.count };
      return print(
        JSON.stringify({ name, ...counts, height, width, channels, classNames, identity }),
      );
    }
    print(
      `${name}: ${train.count} train and ${test.count} test records of ` +
        `${height}x${width}x${channels}, ${classNames.length} classes, sha256 ${identity}`,
    );
  } finally {
    stop();
  }
});
