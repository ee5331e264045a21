/*
 * mount.nfs for test hosts whose kernel has no NFS client: a real NFS client (libnfs) behind a real mount (FUSE).
 * Called by mount(8) as `mount.nfs SOURCE DIR [-sfnvrw] [-o OPTIONS]`; says what the real one says when the server refuses.
 */
#define FUSE_USE_VERSION 31
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <nfsc/libnfs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <unistd.h>

static struct nfs_context *nfs;

static void to_stat(const struct nfs_stat_64 *from, struct stat *to) {
  memset(to, 0, sizeof *to);
  to->st_ino = from->nfs_ino;
  to->st_mode = from->nfs_mode;
  to->st_nlink = from->nfs_nlink;
  to->st_uid = from->nfs_uid;
  to->st_gid = from->nfs_gid;
  to->st_size = from->nfs_size;
  to->st_blocks = from->nfs_blocks;
  to->st_blksize = from->nfs_blksize;
  to->st_atime = from->nfs_atime;
  to->st_mtime = from->nfs_mtime;
  to->st_ctime = from->nfs_ctime;
}

static int get_attr(const char *path, struct stat *out, struct fuse_file_info *info) {
  struct nfs_stat_64 found;
  int code = nfs_lstat64(nfs, path, &found);
  (void)info;
  if (code == 0) to_stat(&found, out);
  return code;
}

static int read_dir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *info,
                    enum fuse_readdir_flags flags) {
  struct nfsdir *folder;
  struct nfsdirent *entry;
  int code = nfs_opendir(nfs, path, &folder);
  (void)offset, (void)info, (void)flags;
  if (code < 0) return code;
  while ((entry = nfs_readdir(nfs, folder)) != NULL) fill(buffer, entry->name, NULL, 0, 0);
  nfs_closedir(nfs, folder);
  return 0;
}

static int open_file(const char *path, struct fuse_file_info *info) {
  struct nfsfh *file;
  int code = nfs_open(nfs, path, info->flags & ~O_CREAT, &file);
  if (code == 0) info->fh = (uintptr_t)file;
  return code;
}

static int create_file(const char *path, mode_t mode, struct fuse_file_info *info) {
  struct nfsfh *file;
  int code = nfs_create(nfs, path, info->flags | O_CREAT, mode & 07777, &file);
  if (code == 0) info->fh = (uintptr_t)file;
  return code;
}

static int read_file(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *info) {
  (void)path;
  return nfs_pread(nfs, (struct nfsfh *)(uintptr_t)info->fh, offset, size, buffer);
}

static int write_file(const char *path, const char *buffer, size_t size, off_t offset, struct fuse_file_info *info) {
  (void)path;
  return nfs_pwrite(nfs, (struct nfsfh *)(uintptr_t)info->fh, offset, size, (void *)buffer);
}

static int sync_file(const char *path, int only_data, struct fuse_file_info *info) {
  (void)path, (void)only_data;
  return nfs_fsync(nfs, (struct nfsfh *)(uintptr_t)info->fh);
}

static int release_file(const char *path, struct fuse_file_info *info) {
  (void)path;
  return nfs_close(nfs, (struct nfsfh *)(uintptr_t)info->fh);
}

static int truncate_file(const char *path, off_t size, struct fuse_file_info *info) {
  (void)info;
  return nfs_truncate(nfs, path, size);
}

static int make_dir(const char *path, mode_t mode) { return nfs_mkdir2(nfs, path, mode & 07777); }
static int remove_dir(const char *path) { return nfs_rmdir(nfs, path); }
static int remove_file(const char *path) { return nfs_unlink(nfs, path); }

static int rename_file(const char *from, const char *to, unsigned int flags) {
  return flags ? -EINVAL : nfs_rename(nfs, from, to);
}

static int change_mode(const char *path, mode_t mode, struct fuse_file_info *info) {
  (void)info;
  return nfs_chmod(nfs, path, mode & 07777);
}

static int change_owner(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *info) {
  (void)info;
  return nfs_chown(nfs, path, (int)uid, (int)gid);
}

static int set_times(const char *path, const struct timespec times[2], struct fuse_file_info *info) {
  struct timeval both[2] = {{times[0].tv_sec, times[0].tv_nsec / 1000}, {times[1].tv_sec, times[1].tv_nsec / 1000}};
  (void)info;
  return nfs_utimes(nfs, path, both);
}

static int stat_fs(const char *path, struct statvfs *out) { return nfs_statvfs(nfs, path, out); }

static const struct fuse_operations operations = {
    .getattr = get_attr,   .readdir = read_dir,     .open = open_file,         .create = create_file,
    .read = read_file,     .write = write_file,     .fsync = sync_file,        .release = release_file,
    .mkdir = make_dir,     .rmdir = remove_dir,     .unlink = remove_file,     .rename = rename_file,
    .chmod = change_mode,  .chown = change_owner,   .truncate = truncate_file, .utimens = set_times,
    .statfs = stat_fs,
};

/** The value of KEY= in a list of options, or NULL. */
static const char *option(char *list, const char *key) {
  static char value[64];
  size_t length = strlen(key);
  for (char *at = list; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (strncmp(at, key, length) == 0 && at[length] == '=') {
      snprintf(value, sizeof value, "%.*s", (int)strcspn(at + length + 1, ","), at + length + 1);
      return value;
    }
  return NULL;
}

static int refuse(const char *source, const char *said, int code) {
  if (strstr(said, "ACCES") || strstr(said, "PERM") || code == -EACCES || code == -EPERM)
    fprintf(stderr, "mount.nfs: access denied by server while mounting %s\n", source);
  else if (strstr(said, "NOENT") || code == -ENOENT)
    fprintf(stderr, "mount.nfs: mounting %s failed, reason given by server: No such file or directory\n", source);
  else if (strstr(said, "refused") || code == -ECONNREFUSED)
    fprintf(stderr, "mount.nfs: Connection refused for %s on %s\n", source, source);
  else if (strstr(said, "imed out") || strstr(said, "imeout") || code == -ETIMEDOUT)
    fprintf(stderr, "mount.nfs: Connection timed out for %s\n", source);
  else
    fprintf(stderr, "mount.nfs: %s\n", said);
  return 32;
}

int main(int argc, char **argv) {
  char server[256], path[1024], name[1400], list[1024] = "";
  if (argc < 3) return 1;
  const char *colon = strstr(argv[1], ":/");
  if (!colon) {
    fprintf(stderr, "mount.nfs: remote share not in 'host:dir' format\n");
    return 32;
  }
  snprintf(server, sizeof server, "%.*s", (int)(colon - argv[1]), argv[1]);
  snprintf(path, sizeof path, "%s", colon + 1);
  for (int i = 3; i < argc - 1; i++)
    if (strcmp(argv[i], "-o") == 0) snprintf(list, sizeof list, "%s", argv[i + 1]);
  const char *version = option(list, "nfsvers");
  if (!version) version = option(list, "vers");
  nfs = nfs_init_context();
  nfs_set_version(nfs, version && version[0] == '3' ? 3 : 4);
  /* libnfs calls itself by its process id, which another host may have too: each would end what the other has open. */
  char host[64] = "", self[128];
  gethostname(host, sizeof host - 1);
  struct timeval born;
  gettimeofday(&born, NULL);
  snprintf(self, sizeof self, "%s-%d-%ld-%ld", host, (int)getpid(), (long)born.tv_sec, (long)born.tv_usec);
  nfs4_set_client_name(nfs, self);
  const char *tenths = option(list, "timeo");
  nfs_set_timeout(nfs, tenths ? atoi(tenths) * 100 : 5000);
  nfs_set_autoreconnect(nfs, 1);
  int code = nfs_mount(nfs, server, path);
  if (code < 0) return refuse(argv[1], nfs_get_error(nfs), code);
  struct nfs_stat_64 root;
  code = nfs_stat64(nfs, "/", &root);
  if (code < 0) return refuse(argv[1], nfs_get_error(nfs), code);

  snprintf(name, sizeof name, "-osubtype=nfs,fsname=%s,allow_other", argv[1]);
  char *fuse_argv[] = {argv[0], argv[2], "-s", name, NULL};
  return fuse_main(4, fuse_argv, &operations, NULL) == 0 ? 0 : 32;
}
