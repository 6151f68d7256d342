/** What `deno task train` understands on its command line. */
import { newCommand, quietText } from "./cli.ts";
import { deviceDataText, onBrokenText } from "./data_options.ts";
import { defaultPort } from "./live_server.ts";
import { addRunOptions } from "./run_options.ts";
import type { StartOptions } from "./train_start.ts";

/** The command; what it parses is {@linkcode TrainOptions} and the fields of a configuration. */
export const command = addRunOptions(
  newCommand("train", "Train a Vision Transformer; missing data is downloaded first.")
    .option(
      "--backend <name>",
      "auto, webgpu, wasm or cpu; with --resume auto is the one that the run was computed on",
      "auto",
    )
    .option("--data <source>", "folder, archive or URL of the data set; default: data/")
    .option("--md5 <sum>", "checksum of the archive, or none; default: the official one")
    .option("--on-broken <what>", onBrokenText, "skip")
    .option("--device-data <bytes>", deviceDataText, "auto")
    .option("--out <folder>", "the run's folder; default: runs/<dataset>-<date and time>")
    .option(
      "--resume <run>",
      "go on with the run in this folder from its newest valid state; auto: with the newest in runs/",
    )
    .option(
      "--reschedule",
      "with --resume and other --epochs: let the learning rate jump to that run's schedule",
      false,
    )
    .option(
      "--init-from <path>",
      "begin a new run with the weights of a run, a checkpoint or an exported safetensors file; or of " +
        "a ViT of timm, Hugging Face or torchvision: its folder or file, or hf:OWNER/NAME[@REVISION]",
    )
    .option("--hub <url>", "where hf: names are fetched from; default: https://huggingface.co")
    .option(
      "--save-every <interval>",
      "save within an epoch too: every so many steps (500) or minutes (10m); 0: never",
      "10m",
    )
    .option("--keep <n>", "how many states stay, the last and those before it", "2")
    .option(
      "--on-nan <what>",
      "a loss or gradient that is NaN or infinite: stop the run, or skip that step's update",
      "stop",
    )
    .option(
      "--tune",
      "measure the GPU's kernels first; a hardware GPU does so unasked, once",
      false,
    )
    .option(
      "--serve [port]",
      `show the run on a page of this machine while it trains; ${defaultPort}`,
    )
    .option("--tensorboard <folder>", "write event files for TensorBoard below this folder")
    .option("--no-report", "make no report.html when the run is complete")
    .option("-q, --quiet", quietText, false)
    .option("--json", "print one JSON object per line", false)
    .option("--mpi <library>", "with train:mpi: the MPI library's file or name, or auto")
    .addHelpText(
      "after",
      "\nExamples:\n  deno task train --preset tiny --dataset shapes\n" +
        "  deno task train --preset tiny --epochs 3 --out runs/my-run\n" +
        "  deno task train --preset tiny --dataset folder:photos --image-size 64\n" +
        "  deno task train --resume runs/my-run\n" +
        "  deno task train --init-from runs/my-run --dataset cifar10\n" +
        "  deno task train --preset finetune --init-from vit-base --dataset folder:photos\n\n" +
        "Names of other tools are understood too, such as --lr, --bs, --wd, --num-train-epochs and\n" +
        "--output-dir; what is true or false also as --flip and --no-flip.\n\n" +
        "Ctrl-C or SIGTERM saves after the batch in hand and ends the run; a second one ends it at " +
        "once.\n\nExit codes, so that `train && deploy` goes on with complete runs alone:\n" +
        "  0    the run is complete\n" +
        "  2    an error that you can mend; standard error says how\n" +
        "  130  ended by Ctrl-C, and saved\n" +
        "  143  ended by SIGTERM, and saved\n" +
        "  141  nobody reads the output any more; saved too",
    ) as ReturnType<typeof newCommand>,
);

/** Its options but for the fields of a configuration. */
export interface TrainOptions extends StartOptions {
  backend: string;
  data?: string;
  md5?: string;
  reschedule: boolean;
  onBroken: string;
  deviceData: string;
  saveEvery: string;
  keep: string;
  onNan: string;
  tune: boolean;
  serve?: string | true;
  tensorboard?: string;
  report: boolean;
  quiet: boolean;
  json: boolean;
}
