/*
 * The journal's lexer.
 *
 * A record is RS, text without RS and LF, LF. Whatever else stands in a file
 * (zeros that ext4 shows after a power cut, a record that SIGKILL or a full
 * disk tore, foreign bytes) is one run of damage up to the next RS. A torn
 * record in a growing file cannot be told from one that is being written
 * until an RS follows, so it is no damage before that.
 *
 * Invariant: data[pos..len) are the file's octets from base + pos on;
 * octets in `damaged` end right at pos.
 */
#include "journal/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCAN_BUFFER (128 * 1024)
/* RS and LF around the largest text, and room to see it is too large. */
#define SCAN_BUFFER_MAX (MSE_RECORD_MAX + SCAN_BUFFER)
#define RECORD_END '\n'
#define MAX_INTERRUPTS 100

void mse_scan_init(struct mse_scan *scan, int fd, uint64_t offset,
		   uint64_t limit)
{
	memset(scan, 0, sizeof(*scan));
	scan->fd = fd;
	scan->base = offset;
	scan->limit = limit;
}

void mse_scan_set_limit(struct mse_scan *scan, uint64_t limit)
{
	scan->limit = limit;
	if (scan->base + scan->len <= limit)
		return;
	scan->len = limit > scan->base + scan->pos ?
		(size_t)(limit - scan->base) : scan->pos;
	scan->searched = 0;
}

void mse_scan_clear(struct mse_scan *scan)
{
	free(scan->data);
	memset(scan, 0, sizeof(*scan));
	scan->fd = -1;
}

uint64_t mse_scan_offset(const struct mse_scan *scan)
{
	return scan->base + scan->pos - scan->damaged;
}

static void damage(struct mse_scan *scan, size_t count)
{
	if (scan->damaged == 0)
		scan->damage_at = scan->base + scan->pos;
	scan->damaged += count;
	scan->pos += count;
	scan->searched = 0;
}

void mse_scan_spoil(struct mse_scan *scan, const struct mse_scan_found *found)
{
	/* A text is only given out with no damage before it. */
	scan->damage_at = found->start;
	scan->damaged = found->end - found->start;
	scan->torn = true;
}

void mse_scan_return(struct mse_scan *scan, const struct mse_scan_found *found)
{
	scan->pos -= (size_t)(found->end - found->start);
	scan->searched = 0;
}

static int make_room(struct mse_scan *scan)
{
	size_t size;
	char *data;

	if (scan->pos > 0) {
		memmove(scan->data, scan->data + scan->pos,
			scan->len - scan->pos);
		scan->base += scan->pos;
		scan->len -= scan->pos;
		scan->pos = 0;
	}
	if (scan->len < scan->size)
		return 0;
	size = scan->size == 0 ? SCAN_BUFFER : scan->size * 2;
	if (size > SCAN_BUFFER_MAX)
		size = SCAN_BUFFER_MAX;
	data = realloc(scan->data, size);
	if (data == NULL) {
		errno = ENOMEM;
		return -1;
	}
	scan->data = data;
	scan->size = size;
	return 0;
}

/* 1 if there is more, 0 at the end, -1 with errno. */
static int fill(struct mse_scan *scan)
{
	unsigned int interrupts = 0;
	uint64_t offset = scan->base + scan->len;
	size_t want;
	ssize_t ret;

	if (offset >= scan->limit)
		return 0;
	if (make_room(scan) < 0)
		return -1;
	want = scan->size - scan->len;
	if (want > scan->limit - offset)
		want = (size_t)(scan->limit - offset);
	do {
		ret = pread(scan->fd, scan->data + scan->len, want,
			    (off_t)offset);
	} while (ret < 0 && errno == EINTR && ++interrupts < MAX_INTERRUPTS);
	if (ret <= 0)
		return (int)ret;
	scan->len += (size_t)ret;
	return 1;
}

static void give_damage(struct mse_scan *scan, struct mse_scan_found *found_r)
{
	memset(found_r, 0, sizeof(*found_r));
	found_r->start = scan->damage_at;
	found_r->end = scan->damage_at + scan->damaged;
	found_r->torn = scan->torn;
	scan->damaged = 0;
	scan->torn = false;
}

/* pos stands on an RS. True if a text was found; else either the damage
   grew or `*more_r` octets are needed. */
static bool find_text(struct mse_scan *scan, struct mse_scan_found *found_r,
		      bool *more_r)
{
	const char *start = scan->data + scan->pos;
	size_t avail = scan->len - scan->pos, end;
	size_t from = scan->searched > 0 ? scan->searched : 1;
	const char *lf, *rs;

	*more_r = false;
	lf = memchr(start + from, RECORD_END, avail - from);
	end = lf == NULL ? avail : (size_t)(lf - start);
	rs = memchr(start + from, MSE_RECORD_SEPARATOR, end - from);
	if (rs != NULL) {
		damage(scan, (size_t)(rs - start));
		scan->torn = true;
		return false;
	}
	if (end > MSE_RECORD_MAX + 1) {
		damage(scan, end);
		scan->torn = true;
		return false;
	}
	if (lf == NULL) {
		scan->searched = avail;
		*more_r = true;
		return false;
	}
	memset(found_r, 0, sizeof(*found_r));
	found_r->text.data = start + 1;
	found_r->text.len = end - 1;
	found_r->start = scan->base + scan->pos;
	found_r->end = found_r->start + end + 1;
	scan->pos += end + 1;
	scan->searched = 0;
	return true;
}

static void skip_to_rs(struct mse_scan *scan)
{
	const char *start = scan->data + scan->pos;
	const char *rs = memchr(start, MSE_RECORD_SEPARATOR,
				scan->len - scan->pos);

	damage(scan, rs == NULL ? scan->len - scan->pos : (size_t)(rs - start));
}

/* What is left at the end. */
static enum mse_scan_result at_end(struct mse_scan *scan, bool final,
				   struct mse_scan_found *found_r)
{
	if (!final)
		return MSE_SCAN_END;
	if (scan->pos < scan->len) {
		scan->torn = true;
		damage(scan, scan->len - scan->pos);
	}
	if (scan->damaged == 0)
		return MSE_SCAN_END;
	give_damage(scan, found_r);
	return MSE_SCAN_DAMAGE;
}

enum mse_scan_result mse_scan_next(struct mse_scan *scan, bool final,
				   struct mse_scan_found *found_r)
{
	bool more;
	int ret;

	for (;;) {
		more = scan->pos == scan->len;
		if (!more && scan->data[scan->pos] != MSE_RECORD_SEPARATOR) {
			skip_to_rs(scan);
			continue;
		}
		if (!more && scan->damaged > 0) {
			give_damage(scan, found_r);
			return MSE_SCAN_DAMAGE;
		}
		if (!more && find_text(scan, found_r, &more))
			return MSE_SCAN_TEXT;
		if (!more)
			continue;
		ret = fill(scan);
		if (ret < 0)
			return MSE_SCAN_ERROR;
		if (ret == 0)
			return at_end(scan, final, found_r);
	}
}
