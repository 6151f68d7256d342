/** `deno task preview`: a page of `export --format web` on this machine, to be looked at. */
import { UserError } from "../lib/errors.ts";
import { newCommand, parseArguments, runTask } from "./cli.ts";
import { print } from "./output.ts";
import { fileResponse } from "./static_files.ts";

/** Where the search for a free port begins, and how many are tried. */
const ports = { first: 8000, count: 20 };

await runTask(async () => {
  const command = parseArguments(
    newCommand("preview", "Show a page of `export --format web` to the browsers of this machine.")
      .argument("<folder>", "what export has written")
      .addHelpText("after", "\nExample: deno task preview page"),
  );
  const [folder] = command.processedArgs;
  const isPage = await Deno.stat(`${folder}/index.html`).then(({ isFile }) => isFile, () => false);
  if (!isPage) {
    throw new UserError(
      `${folder} has no index.html; make a page with deno task export RUN --format web --out ` +
        `${folder}.`,
    );
  }
  const server = listen(folder);
  print(`http://127.0.0.1:${server.addr.port} shows ${folder}; Ctrl-C ends it.`);
  await server.finished;
});

/** A server at the first free port. */
function listen(folder: string): Deno.HttpServer<Deno.NetAddr> {
  for (let port = ports.first; port < ports.first + ports.count; port++) {
    try {
      return Deno.serve(
        { hostname: "127.0.0.1", port, onListen: () => {} },
        (request) => fileResponse(request, folder),
      );
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new UserError(
    `The ports ${ports.first} to ${ports.first + ports.count - 1} are all in use; end what uses ` +
      `one of them.`,
  );
}
