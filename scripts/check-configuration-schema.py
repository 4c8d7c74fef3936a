#!/usr/bin/env python3
"""Fails unless the schema of the warmer's configuration has exactly the keys that the warmer reads.

    HARBOR_WARMER=target/debug/harbor-warmer scripts/check-configuration-schema.py

The warmer itself is asked: `check` refuses a configuration with an unknown key in every map, and lists the keys that
there are.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNKNOWN = "qqqqqqqqqqqq"
CONFIGURATION = {
    UNKNOWN: 1,
    "registry": {UNKNOWN: 1, "tls": {UNKNOWN: 1}, "credentials": [{"cluster": "a", UNKNOWN: 1}]},
    "admin": {UNKNOWN: 1},
    "front": {UNKNOWN: 1},
    "queue": {UNKNOWN: 1},
    "harbors": {
        "main": {
            UNKNOWN: 1,
            "url": "https://harbor.example",
            "credentials": {UNKNOWN: 1},
            "concurrency": {UNKNOWN: 1},
            "projects": {"hub": {UNKNOWN: 1}},
        }
    },
    "targets": {"prod": {UNKNOWN: 1, "credentials": {UNKNOWN: 1}, "replication": {"own": "a", UNKNOWN: 1}}},
    "rules": [{"prefix": "docker.io", "harbor": "main", "project": "hub", UNKNOWN: 1}],
}


def keys_by_path():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(CONFIGURATION, file)
        file.flush()
        warmer = os.environ.get("HARBOR_WARMER", "target/debug/harbor-warmer")
        run = subprocess.run([warmer, "check", "--offline", "--config", file.name], capture_output=True, text=True)
    refusal = run.stdout + run.stderr
    found = re.findall(rf"([\w.\[\]-]*){UNKNOWN}: unknown key; the keys here are ([\w, ]+)", refusal)
    expected = json.dumps(CONFIGURATION).count(UNKNOWN)
    if len(found) != expected:
        sys.exit(f"error: expected the warmer to refuse {expected} unknown keys, but it said:\n{refusal}")
    return {path.rstrip("."): set(keys.split(", ")) for path, keys in found}


def main():
    schema = json.loads((ROOT / "docs/schema/warmer-configuration.json").read_text())
    top, definitions = schema["properties"], schema["definitions"]
    harbor, target = definitions["harbor"]["properties"], definitions["target"]["properties"]
    credentials = definitions["credentials"]["oneOf"][1]
    places = {
        "": schema,
        "registry": top["registry"],
        "registry.tls": top["registry"]["properties"]["tls"],
        "registry.credentials[0]": top["registry"]["properties"]["credentials"]["items"],
        "admin": top["admin"],
        "front": top["front"],
        "queue": top["queue"],
        "harbors.main": definitions["harbor"],
        "harbors.main.credentials": credentials,
        "harbors.main.concurrency": harbor["concurrency"],
        "harbors.main.projects.hub": definitions["project"],
        "targets.prod": definitions["target"],
        "targets.prod.credentials": credentials,
        "targets.prod.replication": target["replication"],
        "rules[0]": definitions["rule"],
    }
    reader = keys_by_path()
    wrong = {path: set(place["properties"]) ^ reader[path] for path, place in places.items()}
    for path, keys in wrong.items():
        if keys:
            print(f"error: {path or 'top'}: only one of schema and warmer has {sorted(keys)}", file=sys.stderr)
    sys.exit(1) if any(wrong.values()) else print("the schema has the keys that the warmer reads")


if __name__ == "__main__":
    main()
