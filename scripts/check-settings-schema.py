#!/usr/bin/env python3
"""Fails unless the schema of the policy's settings, and questions-ui.yml, have exactly the keys that the policy reads.

    POLICY_HOST=target/debug/policy-host scripts/check-settings-schema.py policy.wasm

The policy itself is asked: settings with an unknown key in every map are refused, and the refusal lists the keys that
there are.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
UNKNOWN = "qqqqqqqqqqqq"
SETTINGS = {
    UNKNOWN: 1,
    "warmer": "warmer.example:8443",
    "rules": [
        {"prefix": "docker.io/", "harbor": "main", "project": "hub", UNKNOWN: 1},
        {"ecr": {UNKNOWN: 1}, "harbor": "main", "project": "hub"},
    ],
    "customResources": [{"group": "argoproj.io", "kind": "Rollout", UNKNOWN: 1}],
}


def keys_by_path(wasm):
    host = os.environ.get("POLICY_HOST", "target/debug/policy-host")
    command = [host, "run", "--request-path", ROOT / "test_data/request_deployment.json"]
    command += ["--settings-json", json.dumps(SETTINGS), wasm]
    run = subprocess.run(command, capture_output=True, text=True)
    refusal = run.stdout + run.stderr
    found = re.findall(rf"([\w.\[\]]*){UNKNOWN}: unknown key; the keys here are ([\w, ]+)", refusal)
    if len(found) != 4:
        sys.exit(f"error: expected the policy to refuse four unknown keys, but it said:\n{refusal}")
    return {path.rstrip("."): set(keys.split(", ")) for path, keys in found}


def questions(list_):
    return {question["variable"].rsplit(".", 1)[-1] for question in list_}


def main():
    reader = keys_by_path(sys.argv[1])
    schema = json.loads((ROOT / "docs/schema/policy-settings.json").read_text())
    rule = schema["definitions"]["rule"]["properties"]
    top = {question["variable"]: question for question in yaml.safe_load((ROOT / "questions-ui.yml").read_text())["questions"]}
    rule_questions = {question["variable"]: question for question in top["rules"]["sequence_questions"]}
    # The first question is a text without an answer.
    places = [
        ("", set(schema["properties"]), set(top) - {"description"}),
        ("rules[0]", set(rule), set(rule_questions)),
        ("rules[1].ecr", set(rule["ecr"]["properties"]), questions(rule_questions["ecr"]["subquestions"])),
        (
            "customResources[0]",
            set(schema["properties"]["customResources"]["items"]["properties"]),
            questions(top["customResources"]["sequence_questions"]),
        ),
    ]
    failed = False
    for path, in_schema, in_questions in places:
        for what, keys in (("the schema", in_schema), ("questions-ui.yml", in_questions)):
            if keys != reader[path]:
                failed = True
                print(
                    f"error: {path or 'top'}: {what} lacks {sorted(reader[path] - keys)} "
                    f"and has {sorted(keys - reader[path])} too many",
                    file=sys.stderr,
                )
    sys.exit(1) if failed else print("schema and questions have the keys that the policy reads")


if __name__ == "__main__":
    main()
