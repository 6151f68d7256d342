/*
 * To be loaded before a program (LD_PRELOAD) on Linux: lets one of its file operations fail.
 *
 *   gcc -shared -fPIC -o fail_once.so fail_once.c -ldl
 *
 * Counts the operations on paths that begin with F_DIR, over all threads, from 1. The F_AT-th does
 * F_WHAT: a number fails with that errno (5 EIO, 28 ENOSPC, 116 ESTALE), KILL ends the process
 * there, HALFKILL after half of a write. F_PERSIST lets all later ones fail too, F_LOG names a file
 * that gets a line for every operation, F_SLOW waits that many milliseconds before each sync.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KILL = -1, HALFKILL = -2, NOT_READ = -2 };

static atomic_int count;
static const char *folder;
static int at = NOT_READ, what, persist, slow, log_file = -1;

static void read_settings(void) {
  if (at != NOT_READ) return;
  folder = getenv("F_DIR");
  persist = getenv("F_PERSIST") != NULL;
  const char *text = getenv("F_SLOW");
  slow = text ? atoi(text) : 0;
  text = getenv("F_LOG");
  if (text) log_file = open(text, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  text = getenv("F_WHAT");
  what = !text ? 0 : !strcmp(text, "KILL") ? KILL : !strcmp(text, "HALFKILL") ? HALFKILL : atoi(text);
  text = getenv("F_AT");
  at = text ? atoi(text) : -1;
}

/* Whether this operation is the one. */
static int is_hit(const char *operation, const char *path) {
  read_settings();
  if (!folder || !path || strncmp(path, folder, strlen(folder))) return 0;
  int number = atomic_fetch_add(&count, 1) + 1;
  if (log_file >= 0) {
    char line[600];
    int length = snprintf(line, sizeof line, "%d %s %s\n", number, operation, path);
    if (write(log_file, line, length < (int)sizeof line ? length : (int)sizeof line)) {}
  }
  return number == at || (persist && at > 0 && number >= at);
}

static int fail(void) {
  if (what == KILL || what == HALFKILL) {
    kill(getpid(), SIGKILL);
    pause();
  }
  errno = what;
  return -1;
}

/* The path of an open file. */
static const char *path_of(int file, char *buffer) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, buffer, 4000);
  if (length < 0) return NULL;
  buffer[length] = 0;
  return buffer;
}

#define REAL(function)                 \
  static __typeof__(&function) real;   \
  if (!real) real = (void *)dlsym(RTLD_NEXT, #function)

int rename(const char *from, const char *to) {
  REAL(rename);
  return is_hit("rename", to) ? fail() : real(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
  REAL(linkat);
  return is_hit("link", to) ? fail() : real(from_folder, from, to_folder, to, flags);
}

int unlink(const char *path) {
  REAL(unlink);
  return is_hit("unlink", path) ? fail() : real(path);
}

int rmdir(const char *path) {
  REAL(rmdir);
  return is_hit("rmdir", path) ? fail() : real(path);
}

int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  return is_hit("mkdir", path) ? fail() : real(path, mode);
}

DIR *opendir(const char *path) {
  REAL(opendir);
  return is_hit("opendir", path) ? (fail(), NULL) : real(path);
}

int open64(const char *path, int flags, ...) {
  REAL(open64);
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, int);
    va_end(arguments);
  }
  int writes = flags & (O_CREAT | O_WRONLY | O_RDWR);
  return is_hit(writes ? "open to write" : "open to read", path) ? fail() : real(path, flags, mode);
}

int statx(int at_folder, const char *path, int flags, unsigned mask, struct statx *into) {
  REAL(statx);
  char buffer[4096];
  /* Rust asks with NULL whether there is such a call; volatile, as the header says there is no NULL. */
  const char *volatile given = path;
  const char *named = given && *given ? given : path_of(at_folder, buffer);
  return given && is_hit("stat", named) ? fail() : real(at_folder, path, flags, mask, into);
}

int fsync(int file) {
  REAL(fsync);
  char buffer[4096];
  read_settings();
  if (slow) usleep(slow * 1000);
  return is_hit("sync", path_of(file, buffer)) ? fail() : real(file);
}

int ftruncate64(int file, off64_t length) {
  REAL(ftruncate64);
  char buffer[4096];
  return is_hit("truncate", path_of(file, buffer)) ? fail() : real(file, length);
}

ssize_t read(int file, void *into, size_t length) {
  REAL(read);
  char buffer[4096];
  if (file < 3 || !folder) return real(file, into, length);
  return is_hit("read", path_of(file, buffer)) ? fail() : real(file, into, length);
}

ssize_t write(int file, const void *data, size_t length) {
  REAL(write);
  char buffer[4096];
  if (file < 3 || file == log_file) return real(file, data, length);
  if (!is_hit("write", path_of(file, buffer))) return real(file, data, length);
  if (what == HALFKILL && real(file, data, length / 2)) {}
  return fail();
}
