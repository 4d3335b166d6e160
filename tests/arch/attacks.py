#!/usr/bin/env python3
"""Checks that every test which SECURITY.md names is there.

    attacks.py ROOT

The tables under its heading "Attacks, ..." name tests in their last column: a file below tests/ and then the tests of it,
each in backquotes. A test is a Criterion test "suite/name", a function of a .py file, a step of a .sh file. Fuzz targets,
which must have a corpus, and the checks of arch/ are named by their file alone. And nothing is left out: every attack of
interop/attacks.py and turn/test_attacks.c must be in a table.
"""

import ast
import os
import re
import sys

HEADING = "## Attacks"
TOKEN = re.compile(r"`([^`]+)`")
FILE = re.compile(r"[\w/]+\.(c|py|sh)")
CRITERION = re.compile(r"^Test\(\s*(\w+),\s*(\w+)", re.MULTILINE)
RULE = re.compile(r"\|[-| ]+$")  # under the head of a table
STEP = re.compile(r'^\s*step "([^"]+)"', re.MULTILINE)


def rows(lines):
    """(line number, last cell) of each row of the tables."""
    inside = False
    for number, line in enumerate(lines, 1):
        if line.startswith("## "):
            inside = line.startswith(HEADING)
        below = lines[number] if number < len(lines) else ""
        if inside and line.startswith("|") and not (RULE.match(line) or RULE.match(below)):
            yield number, line.strip().strip("|").split("|")[-1]


def functions(text):
    """The names of a Python file's functions, and of those which are tests: they need nothing and say what they are."""
    found = [f for f in ast.parse(text).body if isinstance(f, ast.FunctionDef)]
    tests = [f.name for f in found if not f.args.args and ast.get_docstring(f)]
    return {f.name for f in found}, tests


class Tree:
    def __init__(self, root):
        self.root = os.path.join(root, "tests")
        self.known = {}

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as f:
            return f.read()

    def tests(self, path):
        """The tests of a file, None when it does not exist."""
        if path not in self.known:
            self.known[path] = self.find(path)
        return self.known[path]

    def find(self, path):
        if not os.path.isfile(os.path.join(self.root, path)):
            return None
        text = self.read(path)
        if path.endswith(".c"):
            return {f"{suite}/{name}" for suite, name in CRITERION.findall(text)}
        return functions(text)[0] if path.endswith(".py") else set(STEP.findall(text))

    def runs_alone(self, path):
        """True for what has no tests inside: it is one."""
        name = os.path.basename(path)
        if path.startswith("fuzz/"):
            corpus = os.path.join(self.root, "fuzz/corpus", name[len("fuzz_"):-len(".c")])
            return os.path.isdir(corpus) and bool(os.listdir(corpus))
        return path.startswith("arch/") and f"/{name}" in self.read("arch/CMakeLists.txt")


def check_cell(tree, cell, named):
    """What is wrong with the tests of a row."""
    path, count = None, 0
    for token in TOKEN.findall(cell) + [None]:
        if token is None or FILE.fullmatch(token):
            if path and not count and not tree.runs_alone(path):
                yield f"{path}: no test of it is named"
            path, count = token, 0
            if token and tree.tests(token) is None:
                yield f"{token}: there is no such file below tests/"
                path = None
        elif path:
            count += 1
            named.add((path, token))
            if token not in tree.tests(path):
                yield f"{path} has no test {token}"


def left_out(tree, named):
    """Attacks that no row names."""
    attacks = []
    if tree.tests("interop/attacks.py") is not None:
        attacks += [("interop/attacks.py", f) for f in functions(tree.read("interop/attacks.py"))[1]]
    attacks += [("turn/test_attacks.c", t) for t in sorted(tree.tests("turn/test_attacks.c") or [])]
    return [f"{path}: {test} is in no row" for path, test in attacks if (path, test) not in named]


def main():
    root = sys.argv[1]
    tree, named, problems, n = Tree(root), set(), [], 0
    with open(os.path.join(root, "SECURITY.md"), encoding="utf-8") as f:
        lines = f.readlines()
    for number, cell in rows(lines):
        n += 1
        wrong = list(check_cell(tree, cell, named))
        if not TOKEN.search(cell):
            wrong.append("no test is named")
        problems += [f"SECURITY.md:{number}: {what}" for what in wrong]
    problems += left_out(tree, named)
    print("\n".join(problems))
    print(f"{n} attacks, {len(named)} tests, {len(problems)} things wrong with them")
    return 1 if problems or not n else 0


if __name__ == "__main__":
    sys.exit(main())
