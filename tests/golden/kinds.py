"""Writes tests/golden/kinds.json: what each command's sample means, found by the schemas' declarations and by nothing of the bridge.

Run from the repository: python3 tests/golden/kinds.py
"""

import json
from pathlib import Path

NOBODY = ("", "@TLS#NOT_FOUND", None)


def walk(value, path, items):
    """The values at a path; `items` says which of a list's are meant."""
    found = [value]
    for part in path.split("."):
        name = part.removesuffix("[0]").removesuffix("[]")
        found = [each.get(name) for each in found if isinstance(each, dict)]
        if part != name:
            found = [item for each in found for item in (each or [])[:items]]
    return [str(each) for each in found if each is not None]


def meaning(rules, body):
    kind = rules["kind"]
    if isinstance(kind, dict):
        kind = kind["is"].get("".join(walk(body, kind["by"], 1)))
    if kind is None:
        return {"kind": None, "actor": None, "targets": []}
    actors = [who for path in rules.get("actor", "").split(" | ") for who in walk(body, path, 1) if who not in NOBODY]
    paths = rules.get("targets", [])
    paths = [paths] if isinstance(paths, str) else paths
    targets = []
    for number, path in enumerate(paths):
        values = [who for who in walk(body, path, None) if who not in NOBODY]
        if not values and "[]" not in path and number + 1 < len(paths):
            values = [""]
        targets += [who for who in dict.fromkeys(values) if who not in targets]
    return {"kind": kind, "actor": (actors or [None])[0], "targets": targets}


lines = []
for folder in sorted(path for path in Path("schemas").glob("*/*") if path.is_dir()):
    newest = max(folder.glob("v*.avsc"), key=lambda path: int(path.stem[1:]))
    rules = json.loads(newest.read_text())["imbridge"]
    if "kind" in rules:
        body = json.loads((folder / "sample.json").read_text())
        name = json.dumps("/".join(folder.parts[1:]))
        lines.append(f" {name}: {json.dumps(meaning(rules, body), ensure_ascii=False)}")
Path("tests/golden/kinds.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
