#!/usr/bin/env python3
"""Writes artifacthub-pkg.yml from metadata.yml and questions-ui.yml, as `kwctl scaffold artifacthub` does, but for what
kwctl says of every policy alike: who provides it, what it recommends, how it is installed.

    scripts/artifacthub-pkg.py            writes the file; createdAt moves only when something else does
    scripts/artifacthub-pkg.py --check    fails when the file is stale, whatever its createdAt; where kwctl is
                                          installed, also when kwctl would say something else. REQUIRE_KWCTL=1
                                          fails where it isn't

Needs PyYAML (Debian: python3-yaml), but not kwctl: the file can be made where only the sources are.
"""

import argparse
import datetime
import email.utils
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
METADATA = ROOT / "metadata.yml"
QUESTIONS = ROOT / "questions-ui.yml"
OUTPUT = ROOT / "artifacthub-pkg.yml"

# What kwctl writes for every policy alike: Kubewarden as the provider, its retired chart as the recommendation, and how
# to install the policy without anything else.
OURS = ("install", "provider", "recommendations")

HEADER = """\
# Kubewarden Artifacthub Package config
#
# Made from metadata.yml and questions-ui.yml by scripts/artifacthub-pkg.py; don't edit it.
"""

INSTALL = """\
The chart [harbor-warmer](https://github.com/harbor-warmer/harbor-warmer) installs this policy together with the warmer \
that it needs.

The policy alone can be obtained using [kwctl](https://docs.kubewarden.io/howtos/install-kwctl):
```console
kwctl pull {image}
```
Then, generate the policy manifest and tune it to your liking. For example:
```console
kwctl scaffold manifest -t ClusterAdmissionPolicy registry://{image}
```
"""


class Text(str):
    """A text of several lines, written as a literal block."""


class Dumper(yaml.SafeDumper):
    """YAML as kwctl writes it: lists at the margin of their key, no anchors, keys in their own order."""

    def ignore_aliases(self, data):
        return True


Dumper.add_representer(Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|"))


def dump(value):
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10_000)


def package(created_at):
    metadata = yaml.safe_load(METADATA.read_text())
    annotations = metadata["annotations"]
    policy = {key.removeprefix("io.kubewarden.policy."): value for key, value in annotations.items()}
    version = policy["version"]
    image = f"{policy['ociUrl']}:v{version}"
    maintainer, address = email.utils.parseaddr(policy["author"])
    if not address:
        sys.exit(f"error: metadata.yml: the author `{policy['author']}` must be written as `Name <mail@example.com>`")
    rules = [
        {key: rule[key] for key in ("apiGroups", "apiVersions", "resources", "operations")}
        for rule in metadata["rules"]
    ]
    return {
        "version": version,
        "name": policy["title"],
        "displayName": annotations["io.artifacthub.displayName"],
        "createdAt": created_at,
        "description": policy["description"],
        "license": policy["license"],
        "homeURL": policy["url"],
        "containersImages": [{"name": "policy", "image": image}],
        "keywords": [word.strip() for word in annotations["io.artifacthub.keywords"].split(",")],
        "links": [
            {"name": "policy", "url": f"{policy['source']}/releases/download/v{version}/policy.wasm"},
            {"name": "source", "url": policy["source"]},
        ],
        "install": Text(INSTALL.format(image=image)),
        "maintainers": [{"name": maintainer, "email": address}],
        "provider": {"name": policy["title"]},
        "recommendations": [{"url": "https://artifacthub.io/packages/helm/kubewarden/admission-controller"}],
        "annotations": {
            "kubewarden/mutation": str(metadata["mutating"]).lower(),
            "kubewarden/questions-ui": Text(QUESTIONS.read_text()),
            "kubewarden/resources": annotations["io.artifacthub.resources"],
            "kubewarden/rules": Text(dump(rules)),
        },
    }


def normal(package):
    """The package without what may differ between two makings of the same thing: the time, and the layout of YAML."""
    normal = {key: value for key, value in package.items() if key != "createdAt"}
    annotations = dict(normal["annotations"])
    for key in ("kubewarden/questions-ui", "kubewarden/rules"):
        annotations[key] = yaml.safe_load(annotations[key])
    return normal | {"annotations": annotations}


def differing(left, right):
    return [key for key in sorted(left.keys() | right.keys()) if left.get(key) != right.get(key)]


def kwctl_differs(expected):
    """The keys that kwctl would write otherwise, less what is ours to say."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "artifacthub-pkg.yml"
        command = ["kwctl", "scaffold", "artifacthub", "-m", METADATA, "-q", QUESTIONS, "-o", output]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        scaffolded = yaml.safe_load(output.read_text())
    return [key for key in differing(normal(expected), normal(scaffolded)) if key not in OURS]


def check(expected, existing):
    if existing is None or differing(normal(expected), normal(existing)):
        where = "" if existing is None else f" in {', '.join(differing(normal(expected), normal(existing)))}"
        sys.exit(f"error: artifacthub-pkg.yml is stale{where}; run scripts/artifacthub-pkg.py")
    if shutil.which("kwctl") is None:
        if os.environ.get("REQUIRE_KWCTL"):
            sys.exit("error: kwctl is not installed, and REQUIRE_KWCTL says that its output is to be compared")
        print("artifacthub-pkg.yml is up to date (kwctl isn't installed, so its own output was not compared)")
    elif keys := kwctl_differs(expected):
        sys.exit(f"error: kwctl scaffold artifacthub writes other values for {', '.join(keys)}")
    else:
        print("artifacthub-pkg.yml is up to date, and as kwctl writes it")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, and fail when the file is stale")
    arguments = parser.parse_args()

    # BaseLoader leaves createdAt the text that it is.
    existing = yaml.load(OUTPUT.read_text(), Loader=yaml.BaseLoader) if OUTPUT.exists() else None
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    expected = package(now)
    if arguments.check:
        return check(expected, existing)
    if existing is not None and not differing(normal(expected), normal(existing)):
        expected = package(existing["createdAt"])
    OUTPUT.write_text(HEADER + dump(expected))


if __name__ == "__main__":
    main()
