/** The peak of this process's memory so far in bytes; 0 where it cannot be known. */
export function peakBytes(): number {
  // Deno wants all permissions for the file.
  if (
    Deno.build.os !== "linux" || Deno.permissions.querySync({ name: "run" }).state !== "granted"
  ) {
    return 0;
  }
  const status = Deno.readTextFileSync("/proc/self/status");
  return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)![1]);
}
