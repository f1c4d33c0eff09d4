#ifndef MSE_BASE_FILE_H
#define MSE_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

/* Everything here opens with O_CLOEXEC and restarts after EINTR. */

/* Writes all of it or returns -1 with errno; *written_r (may be NULL) says
   how much went out either way. */
int mse_file_write_all(int fd, const void *data, size_t len,
		       size_t *written_r);
/* Appends the regular file dirfd/name to buf (dirfd may be AT_FDCWD). -1 with
   errno (EFBIG beyond the buffer's limit) and a sentence. */
int mse_file_read(int dirfd, const char *name, struct mse_buf *buf,
		  struct mse_error *error_r);
/* Replaces dirfd/name atomically: temporary file, fchmod(mode), fsync,
   rename, fsync of the directory. Readers see the old or the new whole. */
int mse_file_replace(int dirfd, const char *name, mode_t mode,
		     const void *data, size_t len, struct mse_error *error_r);
/* What the errno of an open says stands in the place of one of our files, and
   what to do about it: the end of a sentence. */
const char *mse_file_obstacle(int error);
/* True for NFS, CIFS, SMB2, AFS, Ceph, FUSE, 9p and the like (statfs magic). */
bool mse_file_is_on_network(int fd);

#endif
