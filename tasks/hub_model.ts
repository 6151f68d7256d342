/** Fetching a model of the hub with progress shown. */
import { UserError } from "../lib/errors.ts";
import { fetchModel, hubUrl, parseHubName } from "../lib/foreign/hub.ts";
import { showDataProgress } from "./data_progress.ts";
import { askToReach, hostOf } from "./permissions.ts";

/** Where models are kept, relative to the project. */
const modelsRoot = "data/models";

/**
 * Fetches the model of a name such as `hf:OWNER/NAME@REVISION`.
 * @param url address of the hub
 * @param onNotice told what a person should know, a sentence each
 * @returns its folder.
 */
export async function fetchHubModel(
  name: string,
  url: string = hubUrl,
  onNotice: (text: string) => void,
): Promise<string> {
  const model = parseHubName(name);
  if (hostOf(url) === undefined) {
    throw new UserError(`Option --hub cannot be "${url}": it must be an http: or https: URL.`);
  }
  await askToReach("--hub", url);
  const { onProgress, stop } = showDataProgress();
  try {
    return await fetchModel(model, {
      ...{ root: modelsRoot, url, onNotice },
      onProgress: (file, { received, ...rest }) =>
        onProgress({ stage: "download", source: `${name} ${file}`, done: received, ...rest }),
    });
  } finally {
    stop();
  }
}
