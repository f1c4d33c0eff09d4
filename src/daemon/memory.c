/*
 * Giving back what only a start, or the last event, needed.
 *
 * Three quarters of what an idle daemon would have resident is code and
 * constants of some forty libraries. The kernel maps sixteen pages where one
 * is touched, and keeps longer in memory what a process has mapped. Given
 * back, they stay in the page cache as long as there is room, and are mapped
 * again where they are used.
 *
 * Invariant: only pages that are as they are in their file are let go of.
 * Whatever the linker, a debugger, or a tool that mends running processes
 * wrote to is a private copy, which would be lost: a mapping with one such
 * page is left alone as a whole.
 */
#include "mse-config.h"

#include "daemon/memory.h"

#include <inttypes.h>
#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct range {
	uintptr_t start, end;
};

struct ranges {
	struct range *list;
	size_t count, size;
	uintptr_t page;
};

static int add(struct ranges *ranges, const struct range *range)
{
	struct range *list;
	size_t size;

	if (ranges->count == ranges->size) {
		size = ranges->size == 0 ? 64 : 2 * ranges->size;
		list = realloc(ranges->list, size * sizeof(*list));
		if (list == NULL)
			return -1;
		ranges->list = list;
		ranges->size = size;
	}
	ranges->list[ranges->count++] = *range;
	return 0;
}

/* A mapping's first line: of a file, and not to be written? */
static bool read_head(const char *line, struct range *range_r,
		      bool *constant_r)
{
	struct range range; /* other lines may begin with such digits, too */
	unsigned long inode;
	char rights[5];

	if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %lu",
		   &range.start, &range.end, rights, &inode) != 4)
		return false;
	*range_r = range;
	*constant_r = inode != 0 && rights[1] == '-' && rights[3] == 'p';
	return true;
}

/* Mappings of which no page is a copy. */
static int read_unchanged(struct ranges *ranges)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	struct range range = { 0, 0 };
	bool constant = false;
	unsigned long size;
	char line[512];
	int ret = 0;

	if (maps == NULL)
		return -1;
	while (ret == 0 && fgets(line, sizeof(line), maps) != NULL) {
		if (read_head(line, &range, &constant))
			continue;
		if (sscanf(line, "Anonymous: %lu", &size) == 1)
			constant = constant && size == 0;
		/* Comes behind it. */
		else if (sscanf(line, "Swap: %lu", &size) == 1 &&
			 constant && size == 0)
			ret = add(ranges, &range);
	}
	(void)fclose(maps);
	return ret;
}

static bool has(const struct ranges *ranges, uintptr_t start, uintptr_t end)
{
	size_t i;

	for (i = 0; i < ranges->count; i++) {
		if (ranges->list[i].start == start)
			return ranges->list[i].end == end;
	}
	return false;
}

static int let_go(struct dl_phdr_info *object, size_t size, void *context)
{
	const struct ranges *unchanged = context;
	uintptr_t start, end, page = unchanged->page;
	const ElfW(Phdr) *part;
	unsigned int i;

	for (i = 0; i < object->dlpi_phnum; i++) {
		part = &object->dlpi_phdr[i];
		if (part->p_type != PT_LOAD || (part->p_flags & PF_W) != 0)
			continue;
		start = object->dlpi_addr + part->p_vaddr;
		end = (start + part->p_memsz + page - 1) & ~(page - 1);
		start &= ~(page - 1);
		if (has(unchanged, start, end))
			(void)madvise((void *)start, end - start,
				      MADV_DONTNEED);
	}
	return 0;
}

void mse_memory_give_back(void)
{
	struct ranges unchanged = { NULL, 0, 0, 0 };

	(void)malloc_trim(0);
	unchanged.page = (uintptr_t)sysconf(_SC_PAGESIZE);
	/* The linker's lock is held meanwhile: no library leaves. */
	if (read_unchanged(&unchanged) == 0)
		(void)dl_iterate_phdr(let_go, &unchanged);
	free(unchanged.list);
}
