"""Every metric that an alert or a panel asks for is one that a running warmer shows, and the alerts fire when meant."""

import base64
import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest
import urllib.request

import yaml

import chart
from chart import ROOT, TESTS, documents, find, values_file

HARBOR_SIMULATOR = os.environ["HARBOR_SIMULATOR"]
HARBOR_WARMER = os.environ["HARBOR_WARMER"]
PROMTOOL = os.environ.get("PROMTOOL", "promtool")

CONFIG = """
dataDir: data
registry:
  listen: 127.0.0.1:0
  credentials: [{cluster: default, passwordFile: password}]
admin: {listen: "127.0.0.1:0"}
harbors:
  main:
    url: http://HARBOR
    credentials: {username: robot$warmer, passwordFile: password}
    projects: {hub: {}}
    timeScale: 0.02
targets:
  ecr:
    harbor: main
    credentials: {username: robot$warmer, passwordFile: password}
    replication: {own: harbor-warmer-ecr}
"""

# One image that is warmed and replicated, one that has no such platform, and a look-up.
REQUESTS = [
    ("GET", "v1/tag/ecr/linux-amd64/main/hub/shop/app/manifests/1"),
    ("GET", "v1/tag/none/linux-s390x/main/hub/shop/other/manifests/1"),
    ("HEAD", "v1/harbor/main/hub/shop/app/manifests/1"),
]

KEYWORDS = {"by", "on", "without", "and", "or", "unless", "ignoring", "group_left", "group_right", "bool", "offset"}

# Metrics of others: Prometheus itself and Kubewarden's policy server.
FOREIGN = {"up", "kubewarden_policy_evaluations_total"}


def rule_groups():
    rendered = documents(chart.render(values_file("everything")))
    return find(rendered, "PrometheusRule")["spec"]


def queries():
    """Where it stands, and the query."""
    for group in rule_groups()["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    dashboard = json.loads((chart.CHART / "dashboards/harbor-warmer.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if match := re.fullmatch(r"label_values\((\w+), \w+\)", variable["query"]):
            yield variable["label"], match[1]


def metric_names(query):
    query = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", query)
    query = re.sub(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)", " ", query)
    return {name for name in re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\()\b(?!\s*\()", query) if name not in KEYWORDS}


@contextlib.contextmanager
def running(log, *arguments):
    """A program whose output goes into a file, ended as a supervisor would."""
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def exposed_names():
    """The names of the samples in the /metrics of a warmer that has worked for a simulated Harbor."""
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = directory / "harbor.log"
        seeds = [word for name in ("app", "other") for word in ("--seed-image", f"shop/{name}:1=linux/amd64@1000")]
        robot = ["--robot", "robot$warmer:secret", "--replication-target", "ecr"]
        stack.enter_context(running(log, HARBOR_SIMULATOR, "--time-scale", "0.02", "--project", "hub", *robot, *seeds))
        harbor = address(log, r"listening on http://(\S+)")

        (directory / "password").write_text("secret")
        (directory / "config.yaml").write_text(CONFIG.replace("HARBOR", harbor))
        log = directory / "warmer.log"
        config = ["--config", str(directory / "config.yaml")]
        stack.enter_context(running(log, HARBOR_WARMER, "serve", *config, "--log-format", "json"))
        admin = address(log, r'"admin\.address":\s*"([^"]+)"')
        registry = address(log, r'"registry\.address":\s*"([^"]+)"')

        basic = base64.b64encode(b"default:secret").decode()
        for method, path in REQUESTS:
            request = urllib.request.Request(f"http://{registry}/v2/{path}", method=method, headers={"Authorization": f"Basic {basic}"})
            urllib.request.urlopen(request, timeout=5).close()

        wanted = {name for _, query in queries() for name in metric_names(query)} - FOREIGN
        names = set()

        def read():
            with urllib.request.urlopen(f"http://{admin}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            names.update(re.findall(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{| )", text, re.M))
            return wanted <= names

        until(15, read)
        return names


def address(log, pattern):
    found = until(30, lambda: re.search(pattern, log.read_text()))
    if not found:
        raise AssertionError(f"no {pattern} in the log:\n{log.read_text()}")
    return found[1]


def until(seconds, found):
    """The first answer that is true, or the last one when the time is up."""
    deadline = time.monotonic() + seconds
    while not (answer := found()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return answer


class Monitoring(unittest.TestCase):
    maxDiff = None

    def test_every_metric_in_a_query_is_exposed_by_a_running_warmer(self):
        exposed = exposed_names()
        missing = {(name, where) for where, query in queries() for name in metric_names(query) - FOREIGN - exposed}
        self.assertEqual(missing, set())

    def test_the_names_in_a_query_are_found(self):
        query = 'sum by (a) (increase(b_total{c="d"}[10m])) / on (e) max(f) > 0 and time() - g < 3'
        self.assertEqual(metric_names(query), {"b_total", "f", "g"})

    def test_promtool_accepts_the_rules_and_their_unit_tests(self):
        with tempfile.TemporaryDirectory() as directory:
            directory = pathlib.Path(directory)
            (directory / "rules.yaml").write_text(yaml.safe_dump(rule_groups()))
            (directory / "alerts.yaml").write_text((TESTS / "promtool/alerts.yaml").read_text())
            for arguments in (["check", "rules", "--lint-fatal", "rules.yaml"], ["test", "rules", "alerts.yaml"]):
                process = subprocess.run([PROMTOOL, *arguments], cwd=directory, capture_output=True, text=True)
                self.assertEqual(process.returncode, 0, process.stdout + process.stderr)

    def test_every_alert_is_tested(self):
        tested = {case["alertname"] for test in yaml.safe_load((TESTS / "promtool/alerts.yaml").read_text())["tests"] for case in test["alert_rule_test"]}
        self.assertEqual(tested, {rule["alert"] for group in rule_groups()["groups"] for rule in group["rules"]})

    def test_every_alert_has_a_runbook_section(self):
        headings = re.findall(r"^#+ (.+)$", (ROOT / "docs/operations.md").read_text(), re.M)
        anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        for group in rule_groups()["groups"]:
            for rule in group["rules"]:
                with self.subTest(rule["alert"]):
                    self.assertIn(rule["annotations"]["runbook_url"].partition("#")[2], anchors)


if __name__ == "__main__":
    unittest.main()
