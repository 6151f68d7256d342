/** `deno task data`: fetches, checks and unpacks a data set. */
import { preset } from "../lib/config/presets.ts";
import { fits } from "../lib/data/image/fit.ts";
import { loadDataset } from "../lib/data/load.ts";
import { type DatasetWord, datasetWords } from "../lib/data/sources.ts";
import { UserError } from "../lib/errors.ts";
import { newCommand, oneOf, parseArguments, runTask } from "./cli.ts";
import { onBrokenText } from "./data_options.ts";
import { showDataProgress } from "./data_progress.ts";
import { print } from "./output.ts";
import { askToReach, askToWrite } from "./permissions.ts";

const defaults = preset("keras-cifar100");

await runTask(async () => {
  const command = parseArguments(
    newCommand("data", "Fetches, checks and unpacks a data set, or prepares your own pictures.")
      .option("--dataset <name>", `which data set: ${datasetWords.join(", ")}`, "cifar100")
      .option("--data <source>", "a folder, a .tar.gz archive or a URL of one, to use instead")
      .option("--md5 <sum>", "the archive's MD5, or none; by default that of the official archive")
      .option("--root <folder>", "where data is kept", "data")
      .option(
        "--stored-size <pixels>",
        "side at which your own pictures are stored; 0: as for --image-size",
        "0",
      )
      .option("--image-size <pixels>", "side of the model's input", `${defaults.imageSize}`)
      .option("--fit <how>", `your own pictures: ${fits.join(" or ")}`, defaults.fit)
      .option("--on-broken <what>", onBrokenText, "skip")
      .option("--json", "print one JSON object", false),
  );
  const { json, ...options } = command.opts();
  await askToReach("--data", options.data);
  await askToWrite("--root", options.root);

  const fit = oneOf("--fit", options.fit, Object.fromEntries(fits.map((each) => [each, each])));
  const broken = oneOf("--on-broken", options.onBroken, { skip: "skip", stop: "stop" } as const);
  const { onProgress, stop } = showDataProgress();
  try {
    const { name, height, width, channels, classNames, train, test, identity } = await loadDataset({
      ...{ data: options.data, md5: options.md5, root: options.root },
      dataset: options.dataset as DatasetWord,
      labels: "fine",
      imageSize: wholeNumber("--image-size", options.imageSize),
      storedSize: wholeNumber("--stored-size", options.storedSize),
      ...{ fit, onBroken: broken, onProgress },
      onNotice: (text) => {
        stop();
        if (json) console.error(text);
        else print(text);
      },
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

function wholeNumber(option: string, text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new UserError(`Option ${option} cannot be "${text}": it must be a whole number.`);
}
