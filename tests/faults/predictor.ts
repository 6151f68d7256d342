/**
 * `predict` in a process that prints, as its last line on standard error, the peak of its memory in
 * bytes; 0 where the system does not tell. Arguments: those of `predict`.
 */
function peakBytes(): number {
  if (Deno.build.os !== "linux") return 0;
  const status = Deno.readTextFileSync("/proc/self/status");
  return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)![1]);
}

if (import.meta.main) {
  // The task ends by Deno.exit, which tells of itself so.
  globalThis.addEventListener("unload", () => console.error(peakBytes()));
  await import("../../tasks/predict.ts");
}
