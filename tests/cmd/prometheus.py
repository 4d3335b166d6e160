#!/usr/bin/env python3
"""A strict reader of Prometheus' text format, version 0.0.4.

    prometheus.py FILE [OLDER]     checks FILE; with OLDER also that no counter has gone back
    prometheus.py --self-test      checks that it finds what it should

Stricter than Prometheus itself: every family has HELP and TYPE, once, before its samples, which are together; no
sample comes twice; counters (but coturn's) end in _total and nothing else does; histograms are cumulative, end in
+Inf and agree with their count; values of labels are printable.
"""
import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)$")
COTURN = re.compile(r"(turn|stun)_")
TYPES = {"counter", "gauge", "histogram"}


class Bad(Exception):
    pass


def labels_of(text):
    found, at = {}, 0
    while at < len(text):
        m = LABEL.match(text, at)
        if not m:
            raise Bad(f"labels: {text}")
        if m[1] in found or not m[2].isprintable():
            raise Bad(f"label {m[1]}={m[2]!r}")
        found[m[1]] = m[2]
        at = m.end()
    return found


def family_of(name, families):
    for end in ("_bucket", "_sum", "_count"):
        base = name[:-len(end)]
        if name.endswith(end) and families.get(base, {}).get("type") == "histogram":
            return base
    return name


def read(text):
    """{family: {type, help, samples: {(name, labels): value}}}"""
    families, current = {}, None
    if not text.endswith("\n"):
        raise Bad("the last line has no end")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, help_ = line[7:].partition(" ")
            if name in families or not help_:
                raise Bad(f"HELP: {line}")
            current = families[name] = {"type": None, "samples": {}}
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            if current is None or families.get(name) is not current or current["type"] or kind not in TYPES:
                raise Bad(f"TYPE: {line}")
            current["type"] = kind
        else:
            m = SAMPLE.match(line)
            if not m:
                raise Bad(f"line: {line}")
            name, labels = m[1], labels_of(m[2] or "")
            if current is None or families.get(family_of(name, families)) is not current or not current["type"]:
                raise Bad(f"a sample apart from its family: {line}")
            key = name, tuple(sorted(labels.items()))
            if key in current["samples"]:
                raise Bad(f"twice: {line}")
            current["samples"][key] = float(m[3])
    return families


def check_histogram(name, samples):
    buckets = [(dict(k[1])["le"], v) for k, v in samples.items() if k[0] == name + "_bucket"]
    bounds = [float(b) for b, _ in buckets]
    counts = [v for _, v in buckets]
    if bounds != sorted(set(bounds)) or not bounds or buckets[-1][0] != "+Inf":
        raise Bad(f"{name}: buckets {bounds}")
    if counts != sorted(counts) or samples.get((name + "_count", ())) != counts[-1]:
        raise Bad(f"{name}: counts {counts}")
    if (name + "_sum", ()) not in samples:
        raise Bad(f"{name}: no sum")


def check(text):
    families = read(text)
    for name, family in families.items():
        kind, samples = family["type"], family["samples"]
        if not samples and not COTURN.match(name) and "_user_" not in name:
            raise Bad(f"{name}: no samples")
        if not COTURN.match(name) and (kind == "counter") != name.endswith("_total"):
            raise Bad(f"{name}: a {kind}")
        if kind == "counter" and name.removesuffix("_total") in families and name.endswith("_total"):
            raise Bad(f"{name}: its name without _total is another family's")
        if kind == "histogram":
            check_histogram(name, samples)
        elif any(k[0] != name for k in samples):
            raise Bad(f"{name}: samples of other names")
        if kind != "gauge" and any(v < 0 for v in samples.values()):
            raise Bad(f"{name}: below zero")
    return families


def check_monotonic(old, new):
    for name, family in old.items():
        if family["type"] == "gauge":
            continue
        for key, value in family["samples"].items():
            if new[name]["samples"].get(key, -1) < value:
                raise Bad(f"{key} went back from {value} to {new[name]['samples'].get(key)}")


def self_test():
    good = ('# HELP a_total x\n# TYPE a_total counter\na_total{l="v\\"\\\\\\n"} 1\na_total{l="w"} 2\n'
            '# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n')
    check(good)
    bad = {
        "no end": good[:-1],
        "no TYPE": "# HELP a x\na 1\n",
        "no HELP": "# TYPE a gauge\na 1\n",
        "unknown type": "# HELP a x\n# TYPE a count\na 1\n",
        "counter without _total": "# HELP a x\n# TYPE a counter\na 1\n",
        "gauge with _total": "# HELP a_total x\n# TYPE a_total gauge\na_total 1\n",
        "twice": good.replace('l="w"', 'l="v\\"\\\\\\n"'),
        "family twice": good + "# HELP a_total x\n# TYPE a_total counter\na_total 1\n",
        "sample apart": good + 'a_total{l="x"} 1\n',
        "quote in label": good.replace('l="w"', 'l="w""'),
        "control in label": good.replace('l="w"', 'l="\x1b"'),
        "not cumulative": good.replace('le="1"} 1', 'le="1"} 3'),
        "no +Inf": good.replace("+Inf", "2"),
        "count differs": good.replace("h_count 2", "h_count 3"),
        "no sum": good.replace("h_sum 3\n", ""),
        "no value": good.replace('"w"} 2', '"w"}'),
        "a word for a value": good.replace('"w"} 2', '"w"} many'),
        "below zero": good.replace('"w"} 2', '"w"} -2'),
        "blank line": good + "\n",
    }
    for what, text in bad.items():
        try:
            check(text)
        except (Bad, ValueError):
            continue
        sys.exit(f"self-test: not found: {what}")
    try:
        check_monotonic(check(good), check(good.replace('"w"} 2', '"w"} 1')))
    except Bad:
        print(f"{len(bad) + 1} planted mistakes found")
        return
    sys.exit("self-test: a counter that goes back was not found")


def main():
    if sys.argv[1] == "--self-test":
        self_test()
        return
    texts = []
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as f:
            texts.append(f.read())
    try:
        families = check(texts[0])
        if len(texts) > 1:
            check_monotonic(check(texts[1]), families)
    except (Bad, ValueError) as e:
        sys.exit(f"{sys.argv[1]}: {e}")
    print(f"{len(families)} families, {sum(len(f['samples']) for f in families.values())} samples")


main()
