#!/usr/bin/env python3
"""Holds support.yml against everything that names a version, and writes its table into README.md.

    scripts/support-matrix.py            writes the table
    scripts/support-matrix.py --check    changes nothing; fails when the table is stale or a version stands elsewhere
                                         with another number

Needs PyYAML (Debian: python3-yaml).
"""

import argparse
import datetime
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- support.yml, by scripts/support-matrix.py -->\n"
END = "<!-- end of support.yml -->\n"

SYSTEMS = ("kubewarden", "harbor", "kubernetes")
ROW_KEYS = {"system", "version", "as", "run"}
RUN_KEYS = {"date", "how", "where"}

# What people read or copy; golden files follow from the chart.
DOCUMENTS = ("README.md", "docs/*.md", "deploy/*", "charts/harbor-warmer/*", "charts/harbor-warmer/templates/*")


class Mistakes(list):
    def expect(self, where, found, expected):
        """`where` says what it says; that something is said at all is a part of it."""
        if found != expected:
            self.append(f"{where} says {found or 'nothing'}, and support.yml {expected}")

    def end_here(self):
        """Goes on only where there are none."""
        for mistake in self:
            print(f"error: {mistake}", file=sys.stderr)
        if self:
            sys.exit(1)


def number(version):
    """For comparing: a pre-release comes before its release."""
    release, _, pre = str(version).partition("-")
    return tuple(int(part) for part in release.split(".")), not pre, pre


def documents():
    paths = sorted({path for pattern in DOCUMENTS for path in ROOT.glob(pattern) if path.is_file()})
    return [(path.relative_to(ROOT), path.read_text()) for path in paths]


def places(pattern, texts):
    """Where a pattern stands, and the version that its group took."""
    for path, text in texts:
        for match in re.finditer(pattern, text):
            yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}", match.group(1)


def short(version):
    return ".".join(str(version).split(".")[:2])


def check_own_shape(support, mistakes):
    for system in SYSTEMS:
        versions = [support[system][key] for key in ("minimum", "deployed", "newest") if key in support[system]]
        if versions != sorted(versions, key=number):
            mistakes.append(f"support.yml: {system}: minimum, deployed and newest are not in order")
    for row in support["rows"]:
        name = f"support.yml: {row.get('system')} {row.get('version')}"
        if unknown := set(row) - ROW_KEYS | set(row.get("run") or {}) - RUN_KEYS:
            mistakes.append(f"{name}: unknown {', '.join(sorted(unknown))}")
        run = row.get("run")
        if run is not None and not (isinstance(run.get("date"), datetime.date) and run.get("how")):
            mistakes.append(f"{name}: a run needs its date and how it was done")
        if run and (where := run.get("where")) and not (ROOT / where.split("#")[0]).is_file():
            mistakes.append(f"{name}: {where} does not exist")
    rows = {(row["system"].lower(), str(row["version"])) for row in support["rows"]}
    for role in ("minimum", "deployed", "newest"):
        if ("kubewarden", support["kubewarden"][role]) not in rows:
            mistakes.append(f"support.yml: Kubewarden {support['kubewarden'][role]}, the {role}, has no row")


def check_kubewarden(versions, texts, mistakes):
    metadata = yaml.safe_load((ROOT / "metadata.yml").read_text())
    mistakes.expect("metadata.yml: minimumKubewardenVersion", metadata.get("minimumKubewardenVersion"), versions["minimum"])

    values = yaml.safe_load((ROOT / "charts/harbor-warmer/values.yaml").read_text())
    tag = values["policyServer"]["image"].rpartition(":v")[2]
    mistakes.expect("charts/harbor-warmer/values.yaml: policyServer.image", tag, versions["deployed"])
    for where, version in places(r"policy-server:v([0-9][0-9A-Za-z.+-]*)", texts):
        mistakes.expect(where, version, versions["deployed"])
    for where, version in places(r"`policyServer\.image` \| Kubewarden ([0-9.]+)", texts):
        mistakes.expect(where, version, versions["deployed"])

    at_least = list(places(r"Kubewarden\]?(?:\([^)]*\))? (\d+\.\d+(?:\.\d+)?) or newer", texts))
    if not {where.partition(":")[0] for where, _ in at_least} >= {"README.md", "docs/install.md"}:
        mistakes.append("README.md and docs/install.md have to say from which Kubewarden on: `Kubewarden X.Y or newer`")
    for where, version in at_least:
        mistakes.expect(where, short(version), short(versions["minimum"]))

    tools = (ROOT / "scripts/ci-tools.sh").read_text()
    pinned = re.search(r"kwctl\)\n(?:\s*#.*\n)*\s*version=v(\S+)", tools)
    mistakes.expect("scripts/ci-tools.sh: kwctl", pinned and pinned.group(1), versions["minimum"])
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    tried = workflow["jobs"]["policy"]["strategy"]["matrix"]["kwctl"]
    expected = [f"v{versions[role]}" for role in ("minimum", "deployed", "newest")]
    mistakes.expect(".github/workflows/test.yml: kwctl of the job policy", tried, list(dict.fromkeys(expected)))


def check_kubernetes(versions, texts, mistakes):
    chart = yaml.safe_load((ROOT / "charts/harbor-warmer/Chart.yaml").read_text())
    mistakes.expect("charts/harbor-warmer/Chart.yaml: kubeVersion", chart["kubeVersion"], f">={versions['minimum']}-0")
    for where, version in places(r"Kubernetes (\d+\.\d+) or newer", texts):
        mistakes.expect(where, version, short(versions["minimum"]))


def check_harbor(versions, texts, mistakes):
    for where, version in places(r"Harbor v?(\d+\.\d+) or newer", texts):
        mistakes.expect(where, version, short(versions["minimum"]))


def table(support):
    lines = ["| system | version | run |", "|---|---|---|"]
    for row in support["rows"]:
        version = f"{row['version']}, {row['as']}" if "as" in row else str(row["version"])
        run = row.get("run")
        how = f"{run['date']}: {run['how']}" if run else "**not run**"
        if run and "where" in run:
            how += f" ([more]({run['where']}))"
        lines.append(f"| {row['system']} | {version} | {how} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, and fail when something disagrees")
    arguments = parser.parse_args()

    support = yaml.safe_load((ROOT / "support.yml").read_text())
    mistakes = Mistakes()
    check_own_shape(support, mistakes)
    mistakes.end_here()

    readme_path = ROOT / "README.md"
    readme = readme_path.read_text()
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"error: README.md has no place for the table, between {BEGIN.strip()} and {END.strip()}")
    wanted = f"{before}{BEGIN}\n{table(support)}\n{END}{after}"
    if not arguments.check:
        readme_path.write_text(wanted)

    if arguments.check and readme != wanted:
        mistakes.append("README.md: the table of supported versions is stale; run scripts/support-matrix.py")
    texts = documents()
    check_kubewarden(support["kubewarden"], texts, mistakes)
    check_kubernetes(support["kubernetes"], texts, mistakes)
    check_harbor(support["harbor"], texts, mistakes)
    mistakes.end_here()
    print("support.yml is what the chart, metadata.yml, the workflows and the documents say")


if __name__ == "__main__":
    main()
