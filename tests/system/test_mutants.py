"""Builds that break a promise on purpose: what the kill tests find in them.

In an ordinary run only that each change still fits the sources is looked at.
The builds and the rounds run when MAILHOOK_MUTANTS is set (to 1, or to some
names, with commas between); one to four minutes each:

    MAILHOOK_BUILD=... MAILHOOK_MUTANTS=1 nice python3 -m pytest \\
        -p no:cacheprovider tests/system/test_mutants.py
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import build

HERE = Path(__file__).parent
WANTED = os.environ.get("MAILHOOK_MUTANTS", "")


@dataclass
class Mutant:
    """changes: (old, new); each old text is in exactly one place of the
    sources, white space aside. said: what the test run must say."""

    name: str
    changes: list
    said: str
    test: str = "whatever_is_killed"
    rounds: int = 40
    all: bool = False   # not only the first thing that is found


MUTANTS = [
    Mutant("append-before-commit", [(
        "ret = commit(t, changes_r); "
        "if (ret == 0 && mt != NULL) T_BEGIN { "
        "mailhook_committed(mt, box, changes_r, conflicts); } T_END;",
        """
	if (mt != NULL) T_BEGIN {
		struct mail_transaction_commit_changes guess;
		struct mail_index_view *view;
		uint32_t uid;

		i_zero(&guess);
		t_array_init(&guess.saved_uids, 8);
		(void)mail_index_refresh(box->index);
		view = mail_index_view_open(box->index);
		uid = mail_index_get_header(view)->next_uid;
		mail_index_view_close(&view);
		if (array_count(&mt->saves) > 0)
			seq_range_array_add_range(&guess.saved_uids, uid,
				uid + array_count(&mt->saves) - 1);
		mailhook_committed(mt, box, &guess, NULL);
	} T_END;
	(void)conflicts;
	ret = commit(t, changes_r);""")],
        # What is found first is a guessed UID that another session took.
        r"\[b\].*did not happen", rounds=25, all=True),
    # What stands behind the seal is told late and under another number, or
    # the name check after the write finds it and gives up in the end.
    Mutant("inode-check-before-skipped", [(
        "st.st_dev == appender->journal_dev && "
        "st.st_ino == appender->journal_ino", "true")],
        r"\[c\] .* is \('.*\), was \('|\[a\] a Gap for nothing: lost in a"),
    Mutant("inode-checks-skipped", [(
        "st.st_dev == appender->journal_dev && "
        "st.st_ino == appender->journal_ino", "true"), (
        "return fstat(appender->journal_fd, &st) < 0 || st.st_nlink > 0;",
        "(void)st; (void)appender; return true;")],
        r"\[a\].*acknowledged; nothing tells of it"),
    Mutant("offset-without-id", [(
        "return strcmp(id, position->id) == 0 ? MSE_MATCH_YES : "
        "MSE_MATCH_NO;", "return MSE_MATCH_YES;")],
        "in the place of the one that was cut did not come",
        test="same_length", rounds=0),
    Mutant("cursor-before-answer", [(
        "cursor_r->position = first != NULL ? first->before : "
        "endpoint->read_position; cursor_r->sequence = first != NULL ? "
        "first->sequence - 1 : endpoint->next_sequence - 1;",
        "(void)first; cursor_r->position = endpoint->read_position; "
        "cursor_r->sequence = endpoint->next_sequence - 1;")],
        r"\[a\] appended, but|\[c\].*was not answered"),
    Mutant("new-id-at-resend", [(
        "struct mse_body body; mse_attempt_body(endpoint, &item->record, "
        "item->sequence, &body);", """
	struct mse_record again = item->record;
	struct mse_body body;

	if (item->tries.attempts > 0)
		mse_uuid_make(mse_deliver_wall(endpoint->deliver), again.id);
	mse_attempt_body(endpoint, &again, item->sequence, &body);"""), (
        "mse_flight_start(&item->flight, &body, item->record.id,",
        "mse_flight_start(&item->flight, &body, again.id,")],
        r"\[c\] .* is [0-9a-f-]{36}, was"),
]


def mutate(source, mutant):
    """Applies it to a tree; AssertionError if it does not fit."""
    texts = {path: path.read_text() for folder in ("src", "dovecot-plugin")
             for path in (source / folder).rglob("*.c")}
    changed = set()
    for old, new in mutant.changes:
        pattern = r"\s+".join(re.escape(word) for word in old.split())
        found = [path for path, text in texts.items()
                 for _ in re.finditer(pattern, text)]
        assert len(found) == 1, \
            f"{mutant.name}: {len(found)} places for: {old}"
        texts[found[0]] = re.sub(pattern, lambda _: new, texts[found[0]])
        changed.add(found[0])
    return {path: texts[path] for path in changed}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_it_fits(mutant):
    assert mutate(build.SOURCE, mutant)


def make(directory, mutant):
    """A copy of the sources and of the build, made with it."""
    source, made = directory / "source", directory / "build"
    shutil.copytree(build.SOURCE, source, symlinks=True,
                    ignore=shutil.ignore_patterns(".git", "build",
                                                  "__pycache__"))
    shutil.copytree(build.BUILD, made, symlinks=True,
                    ignore=shutil.ignore_patterns("without-dovecot",
                                                  "sanitize", "log",
                                                  "mailhook-*"))
    for path, text in mutate(source, mutant).items():
        path.write_text(text)
    for path in made.rglob("*"):
        if path.name == "Makefile" or path.suffix in (".Po", ".Plo"):
            path.write_text(path.read_text()
                            .replace(str(build.BUILD), str(made))
                            .replace(str(build.SOURCE), str(source)))
    # It has mailhookd's path compiled in.
    (source / "dovecot-plugin" / "mailhook-launcher.c").touch()
    subprocess.run(
        ["make", "-C", made, "AUTOCONF=:", "AUTOMAKE=:", "ACLOCAL=:",
         "AUTOHEADER=:", "mailhookd", "mailhookctl",
         "lib05_mailhook_plugin.la", "install-servicePROGRAMS"], check=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    root = made / "root"
    shutil.copy(made / "mailhookd", root / "sbin")
    shutil.copy(made / ".libs" / "lib05_mailhook_plugin.so",
                root / "modules")
    return source, made


def is_caught(tmp_path, mutant):
    source, made = make(tmp_path, mutant)
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider",
         "-q", "--tb=short", "test_kill.py", "-k", mutant.test],
        cwd=source / "tests" / "system", text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "MAILHOOK_BUILD": str(made),
             "MAILHOOK_KILL_ROUNDS": str(mutant.rounds),
             **({"MAILHOOK_KILL_ALL": "1"} if mutant.all else {}),
             "MAILHOOK_KILL_WAIT": "3"})
    figures = re.search(r"seed \d+, rounds \d+.*", done.stdout)
    print(mutant.name, figures[0] if figures else "")
    assert done.returncode == 1, done.stdout[-3000:]
    assert re.search(mutant.said, done.stdout), done.stdout[-6000:]


if WANTED:
    @pytest.mark.parametrize(
        "mutant", [one for one in MUTANTS
                   if WANTED == "1" or one.name in WANTED.split(",")],
        ids=lambda one: one.name)
    def test_it_is_caught(tmp_path, mutant):
        is_caught(tmp_path, mutant)
