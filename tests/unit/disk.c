#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDS 1024
#define FILES 512
#define NAMES 256
#define NAME_SIZE 64
#define SECTOR 512

enum what { WRITE, SIZE, LOST_WRITES, SYNC, NAME, UNNAME, MOVE, SYNC_NAMES };

struct step {
	enum what what;
	int file;
	off_t offset;            /* SIZE: the size */
	size_t len;
	char *data;
	char name[NAME_SIZE], to[NAME_SIZE];
};

struct name {
	char text[NAME_SIZE];
	int file;
};

/* The names of a directory. */
struct names {
	struct name list[NAMES];
	size_t count;
};

static struct {
	bool on;
	char dir[256];
	struct step *steps;
	size_t count, size;
	struct names names;      /* now */
	int files;
	int fds[FDS];            /* file + 1, -1 the directory, 0 neither */
	unsigned int boot, fail_sync;
	bool moved;              /* a name, since names were synced */
	void (*before_names)(void);
} disk;

/* Names */

static struct name *find_name(struct names *names, const char *text)
{
	size_t i;

	for (i = 0; i < names->count; i++) {
		if (strcmp(names->list[i].text, text) == 0)
			return &names->list[i];
	}
	return NULL;
}

static void put_name(struct names *names, const char *text, int file)
{
	struct name *name = find_name(names, text);

	if (name == NULL) {
		if (names->count == NAMES)
			abort();
		name = &names->list[names->count++];
		snprintf(name->text, sizeof(name->text), "%s", text);
	}
	name->file = file;
}

static void drop_name(struct names *names, const char *text)
{
	struct name *name = find_name(names, text);

	if (name != NULL)
		*name = names->list[--names->count];
}

static void apply_name(struct names *names, const struct step *step)
{
	if (step->what == NAME) {
		put_name(names, step->name, step->file);
	} else if (step->what == UNNAME) {
		drop_name(names, step->name);
	} else if (step->what == MOVE) {
		drop_name(names, step->name);
		put_name(names, step->to, step->file);
	}
}

/* The log */

static struct step *add(enum what what, int file)
{
	struct step *step;

	if (disk.count == disk.size) {
		disk.size = disk.size * 2 + 1024;
		disk.steps = realloc(disk.steps, disk.size *
				     sizeof(*disk.steps));
		if (disk.steps == NULL)
			abort();
	}
	step = &disk.steps[disk.count++];
	memset(step, 0, sizeof(*step));
	step->what = what;
	step->file = file;
	return step;
}

static int file_of(int fd)
{
	return disk.on && fd >= 0 && fd < FDS && disk.fds[fd] > 0 ?
		disk.fds[fd] - 1 : -1;
}

static void wrote(int fd, const void *data, ssize_t len, off_t offset)
{
	struct step *step;
	int file = file_of(fd);

	if (file < 0 || len <= 0)
		return;
	step = add(WRITE, file);
	step->offset = offset;
	step->len = (size_t)len;
	step->data = malloc((size_t)len);
	if (step->data == NULL)
		abort();
	memcpy(step->data, data, (size_t)len);
}

static void sized(int fd)
{
	int file = file_of(fd);
	struct stat st;

	if (file >= 0 && fstat(fd, &st) == 0)
		add(SIZE, file)->offset = st.st_size;
}

/* The last part of a path in our directory; NULL: it is elsewhere. */
static const char *name_in_dir(int dir_fd, const char *path)
{
	size_t len = strlen(disk.dir);

	if (!disk.on)
		return NULL;
	if (path[0] != '/')
		return dir_fd >= 0 && dir_fd < FDS && disk.fds[dir_fd] < 0 ?
			path : NULL;
	return strncmp(path, disk.dir, len) == 0 && path[len] == '/' ?
		path + len + 1 : NULL;
}

static void named(const char *name, int file)
{
	struct step *step = add(NAME, file);

	snprintf(step->name, sizeof(step->name), "%s", name);
	apply_name(&disk.names, step);
}

static void opened(int fd, int dir_fd, const char *path, int flags)
{
	const char *name = name_in_dir(dir_fd, path);
	const struct name *known;
	int of;

	if (fd < 0 || fd >= FDS)
		return;
	disk.fds[fd] = 0;
	if (!disk.on)
		return;
	/* One of ours once more. */
	if (sscanf(path, "/proc/self/fd/%d", &of) == 1 && of < FDS) {
		disk.fds[fd] = disk.fds[of];
		return;
	}
	if (strcmp(path, disk.dir) == 0 ||
	    (name != NULL && strcmp(name, ".") == 0)) {
		disk.fds[fd] = -1;
		return;
	}
	if (name == NULL)
		return;
	known = find_name(&disk.names, name);
	if (known == NULL && (flags & O_CREAT) != 0) {
		named(name, disk.files++);
		known = find_name(&disk.names, name);
	}
	disk.fds[fd] = known == NULL ? 0 : known->file + 1;
	if (known != NULL && (flags & O_TRUNC) != 0)
		sized(fd);
}

static void happen(void)
{
	void (*what)(void) = disk.before_names;

	if (!disk.moved || what == NULL)
		return;
	disk.before_names = NULL;
	what();
}

static int sync_fd(int fd)
{
	bool fails = disk.on && disk.fail_sync > 0 && --disk.fail_sync == 0;

	if (fd < 0 || fd >= FDS || !disk.on)
		return 0;
	if (disk.fds[fd] < 0) {
		happen();
		disk.moved = false;
		(void)add(SYNC_NAMES, -1);
	} else if (disk.fds[fd] > 0) {
		(void)add(fails ? LOST_WRITES : SYNC, disk.fds[fd] - 1);
	} else {
		return 0;
	}
	if (!fails)
		return 0;
	errno = EIO;
	return -1;
}

/* libc, as far as it writes */

#define AS_64(name) __attribute__((alias(#name)))

ssize_t write(int fd, const void *data, size_t len)
{
	ssize_t ret = syscall(SYS_write, fd, data, len);
	off_t end;

	if (file_of(fd) >= 0 && ret > 0) {
		end = lseek(fd, 0, SEEK_CUR);
		wrote(fd, data, ret, end - ret);
	}
	return ret;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
	ssize_t ret = syscall(SYS_pwrite64, fd, data, len, offset);

	wrote(fd, data, ret, offset);
	return ret;
}
ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
	AS_64(pwrite);

int ftruncate(int fd, off_t size)
{
	int ret = (int)syscall(SYS_ftruncate, fd, size);

	sized(fd);
	return ret;
}
int ftruncate64(int fd, off_t size) AS_64(ftruncate);

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	int ret = (int)syscall(SYS_fallocate, fd, mode, offset, len);

	sized(fd);
	return ret;
}
int fallocate64(int fd, int mode, off_t offset, off_t len) AS_64(fallocate);

int posix_fallocate(int fd, off_t offset, off_t len)
{
	return fallocate(fd, 0, offset, len) == 0 ? 0 : errno;
}
int posix_fallocate64(int fd, off_t offset, off_t len) AS_64(posix_fallocate);

int fsync(int fd)
{
	return sync_fd(fd);
}

int fdatasync(int fd)
{
	return sync_fd(fd);
}

int close(int fd)
{
	if (fd >= 0 && fd < FDS)
		disk.fds[fd] = 0;
	return (int)syscall(SYS_close, fd);
}

static int boot_id(void)
{
	char text[64];
	int fd = memfd_create("boot_id", MFD_CLOEXEC);

	(void)snprintf(text, sizeof(text), "00000000-0000-4000-8000-%012u\n",
		       disk.boot);
	if (fd >= 0) {
		disk.fds[fd] = 0;
		(void)syscall(SYS_write, fd, text, strlen(text));
		(void)lseek(fd, 0, SEEK_SET);
	}
	return fd;
}

static int do_open(int dir_fd, const char *path, int flags, int mode)
{
	int fd;

	if (strcmp(path, "/proc/sys/kernel/random/boot_id") == 0)
		return boot_id();
	fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);
	opened(fd, dir_fd, path, flags);
	return fd;
}

int openat(int dir_fd, const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return do_open(dir_fd, path, flags, mode);
}
int openat64(int dir_fd, const char *path, int flags, ...) AS_64(openat);

int open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return do_open(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) AS_64(open);

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	int ret = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
	const char *old = name_in_dir(from_fd, from);
	const char *new = name_in_dir(to_fd, to);
	const struct name *known;
	struct step *step;

	if (ret < 0 || old == NULL || new == NULL ||
	    (known = find_name(&disk.names, old)) == NULL)
		return ret;
	step = add(MOVE, known->file);
	snprintf(step->name, sizeof(step->name), "%s", old);
	snprintf(step->to, sizeof(step->to), "%s", new);
	disk.moved = true;
	apply_name(&disk.names, step);
	return ret;
}

int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	int ret = (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
	const char *old = name_in_dir(from_fd, from);
	const char *new = name_in_dir(to_fd, to);
	const struct name *known;

	if (ret == 0 && old != NULL && new != NULL &&
	    (known = find_name(&disk.names, old)) != NULL)
		named(new, known->file);
	return ret;
}

int unlinkat(int dir_fd, const char *path, int flags)
{
	int ret = (int)syscall(SYS_unlinkat, dir_fd, path, flags);
	const char *name = name_in_dir(dir_fd, path);
	struct step *step;

	if (ret < 0 || name == NULL || find_name(&disk.names, name) == NULL)
		return ret;
	step = add(UNNAME, -1);
	snprintf(step->name, sizeof(step->name), "%s", name);
	apply_name(&disk.names, step);
	return ret;
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

/* The cut */

struct content {
	char *data;
	size_t size, room;
};

static void resize(struct content *content, size_t size)
{
	if (size > content->room) {
		content->room = size * 2;
		content->data = realloc(content->data, content->room);
		if (content->data == NULL)
			abort();
	}
	if (size > content->size)
		memset(content->data + content->size, 0,
		       size - content->size);
	content->size = size;
}

static void apply_data(struct content *content, const struct step *step,
		       size_t len)
{
	if (step->what == SIZE) {
		resize(content, (size_t)step->offset);
		return;
	}
	if ((size_t)step->offset + len > content->size)
		resize(content, (size_t)step->offset + len);
	memcpy(content->data + step->offset, step->data, len);
}

static unsigned int pick(unsigned int *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 16;
}

/* Whether, and how much of it, was on disk although nobody asked. */
static bool survives(enum disk_policy policy, unsigned int *seed,
		     const struct step *step, size_t *len_r)
{
	*len_r = step->len;
	if (policy != DISK_SOME)
		return policy == DISK_ALL;
	switch (pick(seed) % 3) {
	case 0:
		return false;
	case 1:
		if (step->len > SECTOR)
			*len_r = pick(seed) % (step->len / SECTOR) * SECTOR;
		return *len_r > 0 || step->what == SIZE;
	}
	return true;
}

/* When the step's file was synced next, before the cut; false: never. */
static bool is_synced(size_t index, size_t cut)
{
	size_t i;

	for (i = index + 1; i < cut; i++) {
		if (disk.steps[i].file != disk.steps[index].file)
			continue;
		if (disk.steps[i].what == LOST_WRITES)
			return false;
		if (disk.steps[i].what == SYNC)
			return true;
	}
	return false;
}

static void write_out(const char *dir, const struct name *name,
		      const struct content *content)
{
	char path[512];
	size_t done = 0;
	ssize_t ret;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name->text);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path,
			  O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		abort();
	while (done < content->size) {
		ret = syscall(SYS_write, fd, content->data + done,
			      content->size - done);
		if (ret <= 0)
			abort();
		done += (size_t)ret;
	}
	(void)syscall(SYS_close, fd);
}

void disk_after_cut(size_t cut, enum disk_policy policy, unsigned int seed,
		    const char *dir)
{
	struct content *contents = calloc(FILES, sizeof(*contents));
	struct names *names = calloc(1, sizeof(*names));
	size_t i, j, names_synced = 0, names_until, len;
	char from[512], to[512];

	if (contents == NULL || names == NULL || disk.files > FILES)
		abort();
	for (i = 0; i < cut; i++) {
		if (disk.steps[i].what == SYNC_NAMES)
			names_synced = i;
	}
	names_until = policy == DISK_ALL ? cut : names_synced;
	if (policy == DISK_SOME && cut > names_synced)
		names_until += pick(&seed) % (cut - names_synced + 1);
	for (i = 0; i < cut; i++) {
		const struct step *step = &disk.steps[i];

		if (i < names_until)
			apply_name(names, step);
		if (step->what != WRITE && step->what != SIZE)
			continue;
		len = step->len;
		if (is_synced(i, cut) || survives(policy, &seed, step, &len))
			apply_data(&contents[step->file], step, len);
	}
	for (i = 0; i < names->count; i++) {
		for (j = 0; j < i && names->list[j].file !=
		     names->list[i].file; j++)
			;
		if (j == i) {
			write_out(dir, &names->list[i],
				  &contents[names->list[i].file]);
			continue;
		}
		(void)snprintf(from, sizeof(from), "%s/%s", dir,
			       names->list[j].text);
		(void)snprintf(to, sizeof(to), "%s/%s", dir,
			       names->list[i].text);
		if (syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0) < 0)
			abort();
	}
	for (i = 0; i < FILES; i++)
		free(contents[i].data);
	free(contents);
	free(names);
}

void disk_watch(const char *dir)
{
	disk_forget();
	(void)snprintf(disk.dir, sizeof(disk.dir), "%s", dir);
	disk.on = true;
}

size_t disk_now(void)
{
	return disk.count;
}

void disk_stop(void)
{
	disk.on = false;
}

void disk_forget(void)
{
	size_t i;

	for (i = 0; i < disk.count; i++)
		free(disk.steps[i].data);
	disk.count = 0;
	disk.names.count = 0;
	disk.files = 0;
	memset(disk.fds, 0, sizeof(disk.fds));
}

void disk_boot(unsigned int number)
{
	disk.boot = number;
}

void disk_before_names(void (*happens)(void))
{
	disk.before_names = happens;
}

void disk_fail_sync(unsigned int n)
{
	disk.fail_sync = n;
}
