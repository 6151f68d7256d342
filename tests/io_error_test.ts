import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { UserError } from "../lib/errors.ts";
import { ioError, isAbsent, systemCode } from "../lib/io_error.ts";

const { errors } = Deno;
const withCode = (code: string) => Object.assign(new Error("words"), { code });
const withNumber = (number: number) => new Error(`words (os error ${number}): open '/x'`);
const message = (error: Error) => (ioError(error, "write", "x") as Error).message;

Deno.test("system errors become sentences by their code", () => {
  const codes = [
    ...["EIO", "ENOSPC", "EACCES", "EPERM", "ESTALE", "EROFS", "EMFILE", "ENAMETOOLONG", "ELOOP"],
    ...["EBUSY", "ENXIO", "EINVAL", "EDQUOT", "EFBIG", "ENOTEMPTY", "EXDEV", "ETIMEDOUT"],
  ];
  for (const code of codes) {
    const text = message(withCode(code));
    assert(/^Cannot write x: [^:]+\.$/.test(text), text);
    assert(!text.includes("the system says"), `${code} has no words of its own`);
  }
});

/** Numbers that Deno gives without a code on each system, and what they mean. */
const numbers: Record<string, Record<number, string>> = {
  linux: { 5: "EIO", 6: "ENXIO", 27: "EFBIG", 28: "ENOSPC", 30: "EROFS", 116: "ESTALE" },
  darwin: { 5: "EIO", 28: "ENOSPC", 63: "ENAMETOOLONG", 69: "EDQUOT", 70: "ESTALE" },
  windows: { 19: "EROFS", 32: "EBUSY", 112: "ENOSPC", 206: "ENAMETOOLONG", 1117: "EIO" },
};
Deno.test("system errors become sentences by the system's number, wherever it stands", () => {
  for (const [number, code] of Object.entries(numbers[Deno.build.os] ?? {})) {
    assertEquals(systemCode(withNumber(Number(number))), code);
    assertEquals(message(withNumber(Number(number))), message(withCode(code)));
  }
});

Deno.test("system errors become sentences by Deno's class", () => {
  const classes = {
    ...{ ENOENT: errors.NotFound, EACCES: errors.PermissionDenied, EEXIST: errors.AlreadyExists },
    ...{ EISDIR: errors.IsADirectory, ENOTDIR: errors.NotADirectory, EBUSY: errors.Busy },
    ...{ ELOOP: errors.FilesystemLoop, ETIMEDOUT: errors.TimedOut },
  };
  for (const [code, Kind] of Object.entries(classes)) {
    assertEquals(message(new Kind("words")), message(withCode(code)));
  }
});

Deno.test("a system error without words here is told in the system's own", () => {
  assertStringIncludes(message(withNumber(987)), 'the system says "words (os error 987)"');
  assert(!message(withNumber(987)).includes("/x"));
  assert(message(new errors.BadResource("words")).includes('"words"'));
  assert(message(withCode("EOWNERDEAD")).includes('"words"'));
});

Deno.test("what is no error of the system keeps its stack", () => {
  const others = [
    ...[new Error("a bug"), new TypeError("a bug"), new RangeError("a bug")],
    ...[withCode("ERR_INVALID_ARG_TYPE"), new UserError("as it is"), "no error", undefined],
  ];
  for (const other of others) assertEquals(ioError(other, "write", "x"), other);
});

Deno.test("of a very long path the ends are shown, and an empty one is seen", () => {
  const long = `/begin/${"x".repeat(4400)}/end`;
  const { message } = ioError(withCode("ENAMETOOLONG"), "read", long) as Error;
  assert(message.length < 400, message);
  assertStringIncludes(message, "/begin/");
  assertStringIncludes(message, "/end: the name is longer");
  assertStringIncludes((ioError(withCode("ENOENT"), "read", "") as Error).message, 'read "": ');
});

Deno.test("what is absent is told from other errors, in words or not", () => {
  for (const error of [new errors.NotFound("x"), new errors.NotADirectory("x")]) {
    assert(isAbsent(error));
    assert(isAbsent(ioError(error, "read", "x")));
  }
  for (const error of [withCode("EIO"), new Error("x"), new UserError("x"), undefined]) {
    assert(!isAbsent(error));
  }
});
