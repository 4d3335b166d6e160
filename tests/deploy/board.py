#!/usr/bin/env python3
"""Reads the Grafana board and Prometheus' rules: are they well made, and does turnd have every number that they show?

    board.py METRICS DEPLOY OUT

METRICS is what turnd's /metrics said, DEPLOY the folder of that name. Every expression of the board is written to OUT as a
rule, for promtool to parse. Prints what is wrong; status 1 if anything is.
"""
import json
import re
import sys

NAMES = re.compile(r"\b(?:turnd|turn|process)_[a-z0-9_]+")
VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$instance": ".*"}
# Labels and job names look like metrics, and are none.
NOT_METRICS = {"turnd_rules"}


def metric_names(path):
    """Every name that a sample has, and those of families."""
    names = set()
    with open(path, encoding="utf-8") as f:
        for line in f:
            names.add(re.split(r"[{ ]", line)[2 if line.startswith("#") else 0])
    return names


def expressions(board):
    """(where, expression) of panels, annotations and variables."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for note in board["annotations"]["list"]:
        yield note["name"], note["expr"]
    for variable in board["templating"]["list"]:
        got = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])
        yield variable["name"], got[1]


def plain(expr):
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    return expr


def layout_faults(panels):
    """Panels that overlap, stick out or share a number."""
    ids = [p["id"] for p in panels]
    if len(set(ids)) != len(ids):
        yield "two panels have one id"
    taken = {}
    for p in panels:
        at = p["gridPos"]
        if at["x"] < 0 or at["x"] + at["w"] > 24:
            yield f"{p['title']}: is wider than the page"
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if (x, y) in taken:
                    yield f"{p['title']}: lies over {taken[x, y]}"
                    break
                taken[x, y] = p["title"]


def board_faults(board, source):
    yield from layout_faults(board["panels"])
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        if not panel["targets"]:
            yield f"{panel['title']}: shows nothing"
        for part in [panel] + panel["targets"]:
            if part["datasource"]["uid"] != source:
                yield f"{panel['title']}: reads from {part['datasource']['uid']}, and {source} is provided"
    for where, expr in expressions(board):
        left = [w for w in re.findall(r"\$\w+", plain(expr))]
        if left:
            yield f"{where}: unknown variables {left}"


def unknown_metrics(text, names):
    return sorted(n for n in set(NAMES.findall(text)) - names - NOT_METRICS)


def main():
    metrics, deploy, out = sys.argv[1:]
    names = metric_names(metrics)
    with open(f"{deploy}/grafana/boards/turnd.json", encoding="utf-8") as f:
        board = json.load(f)
    with open(f"{deploy}/grafana/provisioning/datasources/prometheus.yaml", encoding="utf-8") as f:
        source = re.search(r"^\s+uid: (\S+)", f.read(), re.M)[1]
    with open(f"{deploy}/prometheus/turnd.rules.yml", encoding="utf-8") as f:
        rules = " ".join(line for line in f if not re.match(r"\s*(#|- name:|-? ?alert:)", line))

    faults = list(board_faults(board, source))
    found = list(expressions(board))
    for where, expr in found:
        faults += [f"{where}: turnd has no {n}" for n in unknown_metrics(expr, names)]
    faults += [f"turnd.rules.yml: turnd has no {n}" for n in unknown_metrics(rules, names)]

    with open(out, "w", encoding="utf-8") as f:
        f.write("groups:\n  - name: board\n    rules:\n")
        for number, (_, expr) in enumerate(found):
            f.write(f"      - record: board:{number}\n        expr: {json.dumps(plain(expr))}\n")
    for fault in faults:
        print(fault)
    print(f"{len(found)} expressions in {sum(p['type'] != 'row' for p in board['panels'])} panels")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
