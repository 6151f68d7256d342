/** The system's errors about files, in words and with a way out. */
import { UserError } from "./errors.ts";

const chooseFolder = "choose another folder";

/** Matter, and the way out, by the system's own code. */
const sentences: Record<string, string> = {
  ENOSPC: "the disk is full; free some space and start again",
  EDQUOT: "your quota on this disk is used up; free some space and start again",
  EFBIG: "the file would be larger than this system lets it be; choose another disk",
  EROFS: `the file system is read-only; ${chooseFolder}`,
  EACCES: `this user has no permission; ${chooseFolder} or change its permissions`,
  EPERM: `this user has no permission; ${chooseFolder} or change its permissions`,
  ENOENT: "there is no such file or folder",
  ENOTDIR: "a part of the path is a file, not a folder",
  EISDIR: "it is a folder, not a file",
  EEXIST: "it exists already",
  ENOTEMPTY: `the folder is not empty; ${chooseFolder}`,
  EIO: "the disk failed; look after the disk, or take another one, and start again",
  ESTALE: "the server of this network disk has lost it; mount the disk again and start again",
  ETIMEDOUT: "the disk did not answer in time; look after its connection and start again",
  EHOSTDOWN: "the server of this network disk does not answer; wait for it and start again",
  ENODEV: "the disk is gone; attach it again and start again",
  ENXIO: "the disk is gone; attach it again and start again",
  ENOMEDIUM: "there is no disk in the drive; put it in and start again",
  EMFILE: "too many files are open; raise the limit (ulimit -n) and start again",
  ENFILE: "too many files are open on this machine; close other programs and start again",
  ENOMEM: "the system has no memory left; close other programs and start again",
  ENAMETOOLONG: "the name is longer than this system allows; choose a shorter one",
  ELOOP: "its links lead round in a circle; name the file or folder itself",
  EBUSY: "another program is using it; end that one and start again",
  ETXTBSY: "another program is running it; end that one and start again",
  EXDEV: `it lies on another disk; ${chooseFolder}`,
  EMLINK: `the file has more names than this file system allows; ${chooseFolder}`,
  ENOTSUP: `this file system cannot do that; ${chooseFolder}`,
  ENOSYS: `this file system cannot do that; ${chooseFolder}`,
  EINVAL: `this system cannot do that there; ${chooseFolder}`,
  EINTR: "the system interrupted it; start again",
  EAGAIN: "the system could not do it just now; start again",
};

/**
 * A system error as a {@linkcode UserError} with the way out, in the system's own words where there
 * are none here; any other error as it is.
 * @param action what was tried, as in "Cannot `action` PATH"
 */
export function ioError(error: unknown, action: string, path: string): unknown {
  if (!(error instanceof Error) || error instanceof UserError) return error;
  const cannot = `Cannot ${action} ${shownPath(path)}`;
  if (error instanceof Deno.errors.NotCapable) {
    const flag = action === "read" ? "--allow-read" : "--allow-write";
    const why = error.message.includes("--allow-all")
      ? "Deno gives no permission for it but to programs that may do all; name another place"
      : `Deno was started without that permission; start it with ${flag}`;
    return new UserError(`${cannot}: ${why}.`, { cause: error });
  }
  const code = systemCode(error);
  if (code === undefined) return error;
  const sentence = sentences[code] ?? `the system says "${ownWords(error)}"; ${chooseFolder}`;
  return new UserError(`${cannot}: ${sentence}.`, { cause: error });
}

/** Whether an error says that there is nothing under a path, also when it has been put in words. */
export function isAbsent(error: unknown): boolean {
  const code = systemCode(error instanceof UserError ? error.cause : error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/**
 * The code of a system error, such as `ENOSPC`; `UNKNOWN` for one that has no name here, and
 * undefined for an error that is none of the system's.
 */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as Error & { code?: unknown };
  // Deno's own codes have an underscore, as in ERR_INVALID_ARG_TYPE.
  const named = typeof code === "string" && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
  const number = /\(os error (\d+)\)/.exec(error.message)?.[1];
  const ofSystem = Object.values(Deno.errors).some((kind) => error instanceof kind);
  return named ?? codeOfClass(error) ?? (number === undefined ? undefined : numbered[number]) ??
    (number !== undefined || ofSystem ? "UNKNOWN" : undefined);
}

/** A path as a sentence may hold it: of one that is very long, its ends. */
export function shownPath(path: string): string {
  if (path === "") return '""';
  return path.length <= 300 ? path : `${path.slice(0, 120)}…${path.slice(-120)}`;
}

function codeOfClass(error: Error): string | undefined {
  const { errors } = Deno;
  if (error instanceof errors.PermissionDenied) return "EACCES";
  if (error instanceof errors.NotFound) return "ENOENT";
  if (error instanceof errors.NotADirectory) return "ENOTDIR";
  if (error instanceof errors.IsADirectory) return "EISDIR";
  if (error instanceof errors.AlreadyExists) return "EEXIST";
  if (error instanceof errors.FilesystemLoop) return "ELOOP";
  if (error instanceof errors.Busy) return "EBUSY";
  if (error instanceof errors.TimedOut) return "ETIMEDOUT";
  if (error instanceof errors.Interrupted) return "EINTR";
  if (error instanceof errors.WouldBlock) return "EAGAIN";
  if (error instanceof errors.NotSupported) return "ENOTSUP";
  return undefined;
}

/** Codes by the system's numbers, for the errors to which Deno gives neither code nor class. */
const numbered: Record<string, string> = {
  linux: {
    ...{ 1: "EPERM", 5: "EIO", 6: "ENXIO", 12: "ENOMEM", 16: "EBUSY", 18: "EXDEV", 19: "ENODEV" },
    ...{ 22: "EINVAL", 23: "ENFILE", 24: "EMFILE", 26: "ETXTBSY", 27: "EFBIG", 28: "ENOSPC" },
    ...{ 30: "EROFS", 31: "EMLINK", 36: "ENAMETOOLONG", 38: "ENOSYS", 39: "ENOTEMPTY" },
    ...{ 40: "ELOOP", 95: "ENOTSUP", 110: "ETIMEDOUT", 112: "EHOSTDOWN", 116: "ESTALE" },
    ...{ 122: "EDQUOT", 123: "ENOMEDIUM" },
  },
  darwin: {
    ...{ 1: "EPERM", 5: "EIO", 6: "ENXIO", 12: "ENOMEM", 16: "EBUSY", 18: "EXDEV", 19: "ENODEV" },
    ...{ 22: "EINVAL", 23: "ENFILE", 24: "EMFILE", 26: "ETXTBSY", 27: "EFBIG", 28: "ENOSPC" },
    ...{ 30: "EROFS", 31: "EMLINK", 45: "ENOTSUP", 60: "ETIMEDOUT", 62: "ELOOP" },
    ...{ 63: "ENAMETOOLONG", 64: "EHOSTDOWN", 66: "ENOTEMPTY", 69: "EDQUOT", 70: "ESTALE" },
    ...{ 78: "ENOSYS" },
  },
  windows: {
    ...{ 4: "EMFILE", 5: "EACCES", 8: "ENOMEM", 15: "ENODEV", 17: "EXDEV", 19: "EROFS" },
    ...{ 21: "ENOMEDIUM", 23: "EIO", 29: "EIO", 30: "EIO", 32: "EBUSY", 33: "EBUSY" },
    ...{ 39: "ENOSPC", 50: "ENOTSUP", 53: "EHOSTDOWN", 59: "EHOSTDOWN", 64: "EHOSTDOWN" },
    ...{ 87: "EINVAL", 112: "ENOSPC", 121: "ETIMEDOUT", 123: "EINVAL", 145: "ENOTEMPTY" },
    ...{ 183: "EEXIST", 206: "ENAMETOOLONG", 223: "EFBIG", 1117: "EIO", 1142: "EMLINK" },
    ...{ 1295: "EDQUOT", 1816: "EDQUOT", 1921: "ELOOP" },
  },
}[Deno.build.os as string] ?? {};

/** The system's text, without the path that Deno puts after it. */
function ownWords({ message }: Error): string {
  return /^.*?\(os error \d+\)/.exec(message)?.[0] ?? message.slice(0, 200).replace(/\s+/g, " ");
}
