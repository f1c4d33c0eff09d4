/*
 * The kernel's lists of sockets, as a sorted array of inodes: 8 octets for
 * each of them, for as long as one look takes.
 */
#include "derive/sockets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BOOT_ID_LEN (MSE_UUID_SIZE - 1)

static const struct {
	const char *path;
	unsigned int column; /* of the inode, counted from 0 */
	bool may_be_absent;
} lists[] = {
	{ "/proc/net/tcp", 9, false },
	{ "/proc/net/tcp6", 9, true },
	{ "/proc/net/unix", 6, true },
};

void mse_sockets_init(struct mse_sockets *sockets, const char *boot_id)
{
	struct stat st;

	memset(sockets, 0, sizeof(*sockets));
	snprintf(sockets->boot_id, sizeof(sockets->boot_id), "%s", boot_id);
	if (stat("/proc/self/ns/net", &st) == 0)
		sockets->netns = (uint64_t)st.st_ino;
}

void mse_sockets_clear(struct mse_sockets *sockets)
{
	free(sockets->inodes);
	sockets->inodes = NULL;
	sockets->count = sockets->size = 0;
	sockets->seen = false;
}

static int add(struct mse_sockets *sockets, uint64_t inode)
{
	size_t size = sockets->size == 0 ? 1024 : sockets->size * 2;
	uint64_t *inodes;

	if (sockets->count == sockets->size) {
		inodes = realloc(sockets->inodes, size * sizeof(*inodes));
		if (inodes == NULL)
			return -1;
		sockets->inodes = inodes;
		sockets->size = size;
	}
	sockets->inodes[sockets->count++] = inode;
	return 0;
}

/* 0 if there is none: the heading, or a connection that nobody holds. */
static uint64_t inode_of(const char *line, unsigned int column)
{
	while (column-- > 0) {
		line += strspn(line, " ");
		line += strcspn(line, " \n");
	}
	return strtoull(line, NULL, 10);
}

static int read_list(struct mse_sockets *sockets, FILE *file,
		     unsigned int column)
{
	char *line = NULL;
	size_t size = 0;
	uint64_t inode;
	int ret = 0;

	while (ret == 0 && getline(&line, &size, file) > 0) {
		inode = inode_of(line, column);
		if (inode != 0)
			ret = add(sockets, inode);
	}
	/* Half a list would make sockets look gone. */
	if (ferror(file))
		sockets->seen = false;
	free(line);
	return ret;
}

static int compare(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;

	return one < two ? -1 : one > two;
}

int mse_sockets_look(struct mse_sockets *sockets)
{
	FILE *file;
	size_t i;
	int ret = 0;

	sockets->count = 0;
	sockets->seen = true;
	for (i = 0; i < sizeof(lists) / sizeof(*lists) && ret == 0; i++) {
		file = fopen(lists[i].path, "re");
		if (file == NULL) {
			if (errno != ENOENT || !lists[i].may_be_absent)
				sockets->seen = false;
			continue;
		}
		ret = read_list(sockets, file, lists[i].column);
		fclose(file);
	}
	if (ret < 0) {
		mse_sockets_clear(sockets);
		return -1;
	}
	if (sockets->count > 0)
		qsort(sockets->inodes, sockets->count,
		      sizeof(*sockets->inodes), compare);
	return 0;
}

enum mse_socket_state mse_sockets_state(const struct mse_sockets *sockets,
					const char *name)
{
	uint64_t netns, inode;

	if (name == NULL || strlen(name) <= BOOT_ID_LEN ||
	    sockets->boot_id[0] == '\0' ||
	    sscanf(name + BOOT_ID_LEN, ":%" SCNu64 ":%" SCNu64, &netns,
		   &inode) != 2)
		return MSE_SOCKET_UNSEEN;
	if (strncmp(name, sockets->boot_id, BOOT_ID_LEN) != 0)
		return MSE_SOCKET_GONE;
	if (!sockets->seen || netns != sockets->netns)
		return MSE_SOCKET_UNSEEN;
	return sockets->count > 0 &&
		bsearch(&inode, sockets->inodes, sockets->count,
			sizeof(inode), compare) != NULL ?
		MSE_SOCKET_HELD : MSE_SOCKET_GONE;
}
