/** `deno task serve`: a page on which runs are watched while they train, and compared. */
import { UserError } from "../lib/errors.ts";
import { newCommand, parseArguments, runsFolder, runTask } from "./cli.ts";
import { defaultPort, ownHost, portOf, serveLive } from "./live_server.ts";
import { print } from "./output.ts";
import { askToListen } from "./permissions.ts";

await runTask(async () => {
  const command = parseArguments(
    newCommand("serve", "Show runs on a page, live while they train.")
      .argument("[runs...]", `folders of runs, or of such folders; default: all in ${runsFolder}/`)
      .option("--port <number>", "the port to listen on", `${defaultPort}`)
      .option(
        "--host <address>",
        "the address to listen on; another one shows the page to other machines",
        ownHost,
      )
      .addHelpText(
        "after",
        "\nThe page reads the folders alone: it may come before the training and outlive it, and finds\n" +
          "its way back when this server is started anew.\n\nExample: deno task serve runs/a runs/b",
      ),
  );
  const { host, port } = command.opts();
  if (host === "0.0.0.0" || host === "::") {
    throw new UserError(
      `--host ${host} is every address at once; name the one by which this machine is reached.`,
    );
  }
  const [given] = command.processedArgs;
  const runs = await runsOf(given.length > 0 ? given : [runsFolder]);
  await askToListen("--host", host, portOf(port));
  const { url } = serveLive(runs, host, portOf(port));
  print(`${runs.length === 1 ? runs[0] : `${runs.length} runs`}: ${url}`);
  print("Ctrl-C ends it.");
  await new Promise(() => {});
});

/**
 * The folders of runs that words name: each itself, or the runs in it, the newest last.
 * @throws {UserError} for one that is not there, or where there are none.
 */
async function runsOf(words: readonly string[]): Promise<string[]> {
  const runs: string[] = [];
  for (const word of words) {
    const path = word.replace(/(?<=.)\/+$/, "");
    const names = await Array.fromAsync(Deno.readDir(path)).catch(() => null);
    if (!names) {
      throw new UserError(`${path} is no folder; name those of runs, such as ${runsFolder}/NAME.`);
    }
    const inner = await runsIn(path, names.filter(({ isDirectory }) => isDirectory));
    const isRun = names.some(({ isFile }) => isFile) || inner.length === 0;
    runs.push(...isRun && word !== runsFolder ? [path] : inner);
  }
  if (runs.length > 0) return runs;
  throw new UserError(`There is no run in ${words.join(", ")} to show; start one: deno task train`);
}

async function runsIn(path: string, folders: readonly Deno.DirEntry[]): Promise<string[]> {
  const found: { run: string; time: number }[] = [];
  for (const { name } of folders) {
    const run = `${path}/${name}`;
    const info = await Deno.stat(`${run}/config.json`).catch(() => null);
    if (info) found.push({ run, time: info.birthtime?.getTime() ?? info.mtime?.getTime() ?? 0 });
  }
  return found.sort((a, b) => a.time - b.time || (a.run < b.run ? -1 : 1)).map(({ run }) => run);
}
