"""coverage.py SOURCE BUILD: prints a table of what was executed, file by file,
from the counters that gcc's --coverage left in BUILD. Needs gcov alone."""

import collections
import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SHOWN = ("src/", "dovecot-plugin/")


def lines_of(counters, directory):
    """{source: {line: executions}} of one object file, as gcov sees it."""
    subprocess.run(["gcov", "--json-format", str(counters)], cwd=directory,
                   check=False, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    for report in Path(directory).glob("*.gcov.json.gz"):
        with gzip.open(report) as file:
            parsed = json.load(file)
        report.unlink()
        for one in parsed["files"]:
            yield one["file"], {line["line_number"]: line["count"]
                                for line in one["lines"]}


def main(source, build):
    files = collections.defaultdict(lambda: collections.defaultdict(int))
    with tempfile.TemporaryDirectory() as directory:
        for notes in sorted(Path(build).rglob("*.gcno")):
            if any(part in ("sanitize", "fuzz-build")
                   for part in notes.parts):
                continue
            for name, lines in lines_of(notes.with_suffix(".gcda"),
                                        directory):
                path = os.path.relpath(os.path.join(build, name), source)
                if not path.startswith(SHOWN):
                    continue
                for line, count in lines.items():
                    files[path][line] += count
    total = reached = 0
    print(f"{'file':44} {'lines':>6} {'reached':>8} {'':>6}  not reached")
    for path in sorted(files):
        lines = files[path]
        done = sum(1 for count in lines.values() if count)
        total += len(lines)
        reached += done
        print(f"{path:44} {len(lines):6} {done:8} "
              f"{100 * done / len(lines):5.1f}%  {holes(lines)}")
    if not total:
        sys.exit(f"no counters below {build}")
    for folder in sorted({os.path.dirname(path) for path in files}):
        inside = [count for path, lines in files.items()
                  if os.path.dirname(path) == folder
                  for count in lines.values()]
        done = sum(1 for count in inside if count)
        print(f"{folder + '/':44} {len(inside):6} {done:8} "
              f"{100 * done / len(inside):5.1f}%")
    print(f"{'all':44} {total:6} {reached:8} {100 * reached / total:5.1f}%")


def holes(lines, most=8):
    """12 15-19 …: statements that nothing reached, next ones together."""
    runs, before = [], None
    for line in sorted(lines):
        if lines[line]:
            before = None
        elif before:
            runs[-1][1] = line
        else:
            runs.append([line, line])
            before = True
    text = [str(a) if a == b else f"{a}-{b}" for a, b in runs[:most]]
    return " ".join(text) + (" …" if len(runs) > most else "")


main(*sys.argv[1:])
