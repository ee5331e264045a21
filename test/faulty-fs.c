/*
 * A file system that passes everything on to another folder, and fails as it is told: `faulty-fs FOLDER CONTROL MOUNTPOINT`.
 * CONTROL is a file that is read at each call, with a fault a line: OPERATION PART ACTION [SKIP]. A call of OPERATION (or
 * `change`: every one that changes something) on a path that contains PART (`*`: any) then, once SKIP such calls have passed,
 *   <number>      fails with that errno
 *   after:<n>     is done, and reports that errno
 *   full:<bytes>  (write) fails with ENOSPC once so many bytes were written to such paths
 *   hang          does not come back while the line is there
 *   kill          kills the process that called, and the one that started it, with SIGKILL
 * What has happened is added to CONTROL.log, and the count of calls that change something to CONTROL.count.
 */
#define FUSE_USE_VERSION 31
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *folder, *control;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char known[2048];
static struct { char operation[16], part[128], action[32]; long skip, seen, bytes; } faults[8];
static int count;
static long changes;

static void real(char *out, const char *path) { snprintf(out, 4096, "%s%s", folder, path); }

static void note(const char *suffix, const char *text, const char *mode) {
  char path[4096];
  snprintf(path, sizeof path, "%s.%s", control, suffix);
  FILE *file = fopen(path, mode);
  if (!file) return;
  fputs(text, file);
  fclose(file);
}

/* Reads the faults anew where they are others; counts start again then. */
static void look(void) {
  char text[sizeof known] = "";
  int file = open(control, O_RDONLY);
  if (file >= 0) {
    ssize_t length = read(file, text, sizeof text - 1);
    text[length < 0 ? 0 : length] = 0;
    close(file);
  }
  if (strcmp(text, known) == 0) return;
  strcpy(known, text);
  count = 0;
  changes = 0;
  char *save = NULL;
  for (char *line = strtok_r(text, "\n", &save); line && count < 8; line = strtok_r(NULL, "\n", &save)) {
    memset(&faults[count], 0, sizeof faults[count]);
    if (sscanf(line, "%15s %127s %31s %ld", faults[count].operation, faults[count].part, faults[count].action,
               &faults[count].skip) >= 3)
      count++;
  }
}

static int parent_of(int pid) {
  char path[64], line[512] = "";
  int parent = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (!file) return 0;
  char *end = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
  if (end) sscanf(end + 1, " %*c %d", &parent);
  fclose(file);
  return parent;
}

/* What is to happen to a call: 0 nothing, below 0 it fails so, above 0 it is done and then fails so. */
static int fault(const char *operation, int is_change, const char *path, long bytes) {
  int result = 0;
  char text[512];
  pthread_mutex_lock(&mutex);
  look();
  if (is_change) {
    snprintf(text, sizeof text, "%ld\n", ++changes);
    note("count", text, "w");
  }
  for (int i = 0; i < count && result == 0; i++) {
    if (strcmp(faults[i].operation, operation) && !(is_change && strcmp(faults[i].operation, "change") == 0)) continue;
    if (strcmp(faults[i].part, "*") && !strstr(path, faults[i].part)) continue;
    if (faults[i].seen++ < faults[i].skip) continue;
    faults[i].bytes += bytes;
    const char *action = faults[i].action;
    if (strncmp(action, "full:", 5) == 0 && faults[i].bytes <= atol(action + 5)) continue;
    snprintf(text, sizeof text, "%s %s %s\n", operation, path, action);
    note("log", text, "a");
    if (strncmp(action, "full:", 5) == 0) result = -ENOSPC;
    else if (strncmp(action, "after:", 6) == 0) result = atoi(action + 6);
    else if (strcmp(action, "kill") == 0) {
      int pid = fuse_get_context()->pid, parent = parent_of(pid);
      if (parent > 1) kill(parent, SIGKILL);
      kill(pid, SIGKILL);
      result = -EIO;
    } else if (strcmp(action, "hang") == 0) {
      char was[sizeof known];
      strcpy(was, known);
      while (strcmp(was, known) == 0) {
        pthread_mutex_unlock(&mutex);
        usleep(50000);
        pthread_mutex_lock(&mutex);
        look();
      }
    } else result = -atoi(action);
  }
  pthread_mutex_unlock(&mutex);
  return result;
}

#define CALL(name, is_change, path, bytes, work)       \
  char at[4096];                                       \
  int wrong = fault(name, is_change, path, bytes);     \
  if (wrong < 0) return wrong;                         \
  real(at, path);                                      \
  if ((work) < 0) return -errno;                       \
  return -wrong

static int get_attr(const char *path, struct stat *out, struct fuse_file_info *info) {
  (void)info;
  CALL("stat", 0, path, 0, lstat(at, out));
}

static int read_dir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *info,
                    enum fuse_readdir_flags flags) {
  char at[4096];
  (void)offset, (void)info, (void)flags;
  int wrong = fault("list", 0, path, 0);
  if (wrong < 0) return wrong;
  real(at, path);
  DIR *dir = opendir(at);
  if (!dir) return -errno;
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) fill(buffer, entry->d_name, NULL, 0, 0);
  closedir(dir);
  return -wrong;
}

static int open_file(const char *path, struct fuse_file_info *info) {
  int file;
  CALL("open", 0, path, 0, (file = open(at, info->flags), info->fh = file, file));
}

static int create_file(const char *path, mode_t mode, struct fuse_file_info *info) {
  int file;
  CALL("create", 1, path, 0, (file = open(at, info->flags | O_CREAT, mode), info->fh = file, file));
}

static int read_file(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *info) {
  int wrong = fault("read", 0, path, 0);
  if (wrong < 0) return wrong;
  ssize_t length = pread(info->fh, buffer, size, offset);
  return length < 0 ? -errno : length;
}

static int write_file(const char *path, const char *buffer, size_t size, off_t offset, struct fuse_file_info *info) {
  int wrong = fault("write", 1, path, size);
  if (wrong < 0) return wrong;
  ssize_t length = pwrite(info->fh, buffer, size, offset);
  return length < 0 ? -errno : length;
}

static int sync_file(const char *path, int only_data, struct fuse_file_info *info) {
  (void)only_data;
  CALL("fsync", 1, path, 0, (real(at, path), fsync(info->fh)));
}

static int sync_folder(const char *path, int only_data, struct fuse_file_info *info) {
  (void)only_data, (void)info;
  CALL("fsync", 1, path, 0, 0);
}

/* What close() reports: of a file that was written, for nothing is left to fail where it was only read. */
static int flush_file(const char *path, struct fuse_file_info *info) {
  if ((fcntl(info->fh, F_GETFL) & O_ACCMODE) == O_RDONLY) return 0;
  CALL("close", 0, path, 0, 0);
}

static int release_file(const char *path, struct fuse_file_info *info) {
  (void)path;
  close(info->fh);
  return 0;
}

static int truncate_file(const char *path, off_t size, struct fuse_file_info *info) {
  (void)info;
  CALL("truncate", 1, path, 0, truncate(at, size));
}

static int rename_file(const char *from, const char *to, unsigned int flags) {
  char at[4096], target[4096], both[8192];
  if (flags) return -EINVAL;
  snprintf(both, sizeof both, "%s:%s", from, to);
  int wrong = fault("rename", 1, both, 0);
  if (wrong < 0) return wrong;
  real(at, from);
  real(target, to);
  return rename(at, target) < 0 ? -errno : -wrong;
}

static int make_dir(const char *path, mode_t mode) { CALL("mkdir", 1, path, 0, mkdir(at, mode)); }
static int remove_dir(const char *path) { CALL("rmdir", 1, path, 0, rmdir(at)); }
static int remove_file(const char *path) { CALL("unlink", 1, path, 0, unlink(at)); }

static int change_mode(const char *path, mode_t mode, struct fuse_file_info *info) {
  (void)info;
  CALL("chmod", 1, path, 0, chmod(at, mode));
}

static int stat_fs(const char *path, struct statvfs *out) { CALL("statfs", 0, path, 0, statvfs(at, out)); }

/* Nothing is kept in the kernel: every call arrives here. */
static void *start(struct fuse_conn_info *connection, struct fuse_config *config) {
  (void)connection;
  config->attr_timeout = config->entry_timeout = config->negative_timeout = 0;
  config->use_ino = 1;
  return NULL;
}

static const struct fuse_operations operations = {
    .init = start,          .getattr = get_attr,   .readdir = read_dir,     .open = open_file,
    .create = create_file,  .read = read_file,     .write = write_file,     .fsync = sync_file,
    .fsyncdir = sync_folder, .flush = flush_file,  .release = release_file, .truncate = truncate_file,
    .rename = rename_file,  .mkdir = make_dir,     .rmdir = remove_dir,     .unlink = remove_file,
    .chmod = change_mode,   .statfs = stat_fs,
};

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  folder = argv[1];
  control = argv[2];
  umask(0);
  char *fuse_argv[] = {argv[0], argv[3], "-oallow_other,fsname=faulty", NULL};
  return fuse_main(3, fuse_argv, &operations, NULL);
}
