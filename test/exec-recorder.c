/*
 * Preloaded into a program: writes down the arguments and the environment of every program that it starts, and of
 * those that these start in turn, also where they are given a clean environment. LOG and SELF are set when it is compiled.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static void record(char *const argv[], char *const envp[]) {
  static char line[1 << 16];
  size_t length = 0;
  for (int of = 0; of < 2; of++)
    for (char *const *words = of ? envp : argv; words && *words; words++) {
      size_t size = strlen(*words);
      if (length + size + 2 > sizeof line) break;
      memcpy(line + length, *words, size);
      length += size;
      line[length++] = of ? '\002' : '\001';
    }
  line[length++] = '\n';
  int file = open(LOG, O_WRONLY | O_APPEND | O_CREAT, 0666);
  if (file < 0) return;
  if (write(file, line, length) < 0) { /* nothing to be done about it */ }
  close(file);
}

/* The environment with this library in it. What is not freed goes with the exec. */
static char **with_us(char *const envp[]) {
  int count = 0;
  while (envp && envp[count]) count++;
  char **all = calloc(count + 2, sizeof *all);
  int kept = 0;
  for (int i = 0; i < count; i++)
    if (strncmp(envp[i], "LD_PRELOAD=", 11) != 0) all[kept++] = envp[i];
  all[kept++] = "LD_PRELOAD=" SELF;
  return all;
}

int execve(const char *path, char *const argv[], char *const envp[]) {
  int (*real)(const char *, char *const[], char *const[]) = dlsym(RTLD_NEXT, "execve");
  record(argv, envp);
  return real(path, argv, with_us(envp));
}

int execvpe(const char *file, char *const argv[], char *const envp[]) {
  int (*real)(const char *, char *const[], char *const[]) = dlsym(RTLD_NEXT, "execvpe");
  record(argv, envp);
  return real(file, argv, with_us(envp));
}

int execv(const char *path, char *const argv[]) { return execve(path, argv, environ); }
int execvp(const char *file, char *const argv[]) { return execvpe(file, argv, environ); }

#define SPAWN(name)                                                                                              \
  int name(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *at, \
           char *const argv[], char *const envp[]) {                                                             \
    int (*real)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,            \
                char *const[], char *const[]) = dlsym(RTLD_NEXT, #name);                                         \
    record(argv, envp);                                                                                          \
    return real(pid, path, actions, at, argv, with_us(envp));                                                    \
  }
SPAWN(posix_spawn)
SPAWN(posix_spawnp)
