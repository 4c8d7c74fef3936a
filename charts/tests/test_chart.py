"""What the chart renders, held against the code that reads it and the schemas that judge it.

Run by scripts/check-chart.sh, which brings the tools. `UPDATE=1` rewrites golden files and deploy/.
"""

import difflib
import functools
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.parse

import yaml

import chart
from chart import ROOT, TESTS, documents, find, has, values_file, values_of
from cluster import Cluster

HARBOR_WARMER = os.environ["HARBOR_WARMER"]
POLICY_HOST = os.environ["POLICY_HOST"]
POLICY_WASM = os.environ["POLICY_WASM"]
UPDATE = bool(os.environ.get("UPDATE"))


@functools.cache
def rendered_text(name):
    if name not in chart.WITH_CLUSTER:
        return chart.render(values_file(name))
    with Cluster() as cluster:
        return chart.render(values_file(name), cluster=cluster)


def rendered(name):
    return documents(rendered_text(name))


def changed(name, **changes):
    """A value set with some of its values replaced, by dotted path with `__` for a dot."""
    values = values_of(name)
    for path, value in changes.items():
        *parents, last = path.split("__")
        map_ = functools.reduce(lambda map_, key: map_.setdefault(key, {}), parents, values)
        map_[last] = value
    return values


def value_sets(wanted=lambda name: True):
    return filter(wanted, chart.VALUE_SETS)


class Case(unittest.TestCase):
    maxDiff = None

    def assert_settled_file(self, path, text):
        if UPDATE:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        have = path.read_text() if path.exists() else ""
        lines = difflib.unified_diff(have.splitlines(), text.splitlines(), str(path), "rendered", lineterm="")
        if difference := "\n".join(lines):
            self.fail(f"{difference}\n\nIf this is meant: UPDATE=1 scripts/check-chart.sh")

    def assert_refused(self, values, *sentences, **render):
        with self.assertRaises(chart.Refused) as refused:
            chart.render(values, **render)
        for sentence in sentences:
            self.assertIn(sentence, str(refused.exception))


class Rendering(Case):
    def test_each_value_set_renders_as_its_golden_file_has_it(self):
        for name in value_sets():
            with self.subTest(values=name):
                text = chart.settled(rendered_text(name))
                self.assert_settled_file(TESTS / f"golden/{name}.yaml", text)

    def test_the_notes_for_an_existing_policy_server_are_as_the_golden_file_has_them(self):
        for name in ("existing-policy-server", "joining", "everything"):
            with self.subTest(values=name):
                self.assert_settled_file(TESTS / f"golden/{name}.notes.txt", chart.notes(values_file(name)))

    def test_helm_lint_finds_nothing(self):
        for name in value_sets(lambda name: name not in chart.WITH_CLUSTER):
            with self.subTest(values=name):
                chart.helm("lint", "--strict", str(chart.CHART), "--kube-version", chart.KUBERNETES, "--values", str(values_file(name)))

    def test_every_object_fits_its_schema(self):
        for version in ("1.30.0", "1.37.0"):
            schemas = [
                f"{os.environ['SCHEMAS']}/v{version}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json",
                f"{os.environ['SCHEMAS']}/crds/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json",
            ]
            locations = [word for schema in schemas for word in ("-schema-location", schema)]
            for name in value_sets():
                with self.subTest(values=name):
                    process = subprocess.run(["kubeconform", "-strict", "-summary", *locations], input=rendered_text(name), capture_output=True, text=True)
                    self.assertEqual(process.returncode, 0, process.stdout + process.stderr)
                    self.assertNotIn("Valid: 0", process.stdout)

    def test_deploy_is_not_stale(self):
        text = chart.render(ROOT / "deploy/values.yaml")
        text = "\n".join(line for line in text.splitlines() if "helm.sh/" not in line and "managed-by: Helm" not in line)
        kept = [part for part in text.split("\n---\n") if "-check\n" not in part]
        head = "# Rendered from charts/harbor-warmer with deploy/values.yaml; deploy/README.md says what to change in it.\n"
        self.assert_settled_file(ROOT / "deploy/harbor-warmer.yaml", head + "\n---\n".join(kept).rstrip() + "\n")


class Readers(Case):
    """The real readers of what is rendered."""

    def test_the_warmer_reads_its_configuration_where_the_pod_mounts_it(self):
        for name in value_sets(lambda name: has(rendered(name), "StatefulSet")):
            with self.subTest(values=name):
                with tempfile.TemporaryDirectory() as directory:
                    host = urllib.parse.urlparse(next(iter(values_of(name)["harbors"].values()))["url"]).netloc
                    config = chart.lay_out(rendered(name), pathlib.Path(directory), host)
                    process = subprocess.run([HARBOR_WARMER, "check", "--offline", "--config", str(config)], capture_output=True, text=True)
                    self.assertEqual(process.returncode, 0, process.stdout + process.stderr)

    def test_the_policy_accepts_its_settings(self):
        request = ROOT / "test_data/request_pod_delete.json"
        for name in value_sets():
            with self.subTest(values=name):
                settings = find(rendered(name), "ClusterAdmissionPolicy")["spec"]["settings"]
                arguments = ["run", POLICY_WASM, "--request-path", str(request), "--settings-json", json.dumps(settings)]
                process = subprocess.run([POLICY_HOST, *arguments], capture_output=True, text=True)
                self.assertEqual(process.returncode, 0, process.stderr)
                self.assertTrue(json.loads(process.stdout)["allowed"])

    def test_warmer_and_policy_have_the_same_rules_and_platforms(self):
        for name in value_sets(lambda name: has(rendered(name), "StatefulSet")):
            with self.subTest(values=name):
                config = yaml.safe_load(find(rendered(name), "ConfigMap", config_map_name(rendered(name)))["data"]["config.yaml"])
                settings = find(rendered(name), "ClusterAdmissionPolicy")["spec"]["settings"]
                for key in ("rules", "platforms"):
                    self.assertEqual(config[key], settings[key])

    def test_the_policys_rules_are_those_of_its_metadata(self):
        metadata = yaml.safe_load((ROOT / "metadata.yml").read_text())
        self.assertEqual(find(rendered("minimal"), "ClusterAdmissionPolicy")["spec"]["rules"], metadata["rules"])

    def test_chart_and_policy_have_one_version(self):
        metadata = yaml.safe_load((ROOT / "metadata.yml").read_text())
        described = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
        version = metadata["annotations"]["io.kubewarden.policy.version"]
        self.assertEqual([described["version"], described["appVersion"]], [version, version])
        module = find(rendered("minimal"), "ClusterAdmissionPolicy")["spec"]["module"]
        self.assertEqual(module, f"registry://{metadata['annotations']['io.kubewarden.policy.ociUrl']}:v{version}")


def config_map_name(rendered_documents):
    return find(rendered_documents, "StatefulSet")["metadata"]["name"]


class Veradco(Case):
    """What `harbor-warmer import-veradco` prints is taken by the chart, and what that renders by its readers."""

    KNOWN = ("--username", "robot_pull", "--project", "proxy_docker.io")

    def imported(self, name, *known):
        file = ROOT / f"test_data/veradco/{name}.yaml"
        process = subprocess.run([HARBOR_WARMER, "import-veradco", str(file), *known], capture_output=True, text=True)
        self.assertEqual(process.returncode, 0, process.stderr)
        return yaml.safe_load(process.stdout)

    def test_every_example_of_veradcos_documents_is_taken_over(self):
        for name in ("plugin", "veradco_conf", "config_map"):
            with self.subTest(file=name), Cluster() as cluster, tempfile.TemporaryDirectory() as directory:
                made = documents(chart.render(self.imported(name, *self.KNOWN), cluster=cluster))
                config = chart.lay_out(made, pathlib.Path(directory), "harbor.registry.mine.io")
                check = subprocess.run([HARBOR_WARMER, "check", "--offline", "--config", str(config)], capture_output=True, text=True)
                self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
                # The demos have `dryRun: true`, and a dry run stays one.
                self.assertEqual(has(made, "ClusterAdmissionPolicy"), name == "plugin")

    def test_the_policy_hands_over_what_the_plugin_would_have_asked_for(self):
        with Cluster() as cluster:
            made = documents(chart.render(self.imported("plugin", *self.KNOWN), cluster=cluster))
        settings = find(made, "ClusterAdmissionPolicy")["spec"]["settings"]
        request, session = ROOT / "test_data/request_pod_veradco.json", ROOT / "test_data/session_veradco.yml"
        arguments = ["run", POLICY_WASM, "--request-path", str(request), "--settings-json", json.dumps(settings)]
        arguments += ["--allow-context-aware", "--replay-host-capabilities-interactions", str(session)]
        process = subprocess.run([POLICY_HOST, *arguments], capture_output=True, text=True)
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertEqual(json.loads(process.stdout)["auditAnnotations"], {"announced": "1", "images": "1"})

    def test_what_has_to_be_filled_in_is_refused_by_name(self):
        self.assert_refused(self.imported("plugin", "--username", "robot_pull"), "projects")
        self.assert_refused(self.imported("plugin", "--project", "proxy_docker.io"), "username")


class Promises(Case):
    """What must hold whatever the values say."""

    def test_no_value_lets_the_policy_refuse_or_delay_an_admission(self):
        for name in value_sets():
            with self.subTest(values=name):
                spec = find(rendered(name), "ClusterAdmissionPolicy")["spec"]
                expected = {
                    "mode": "monitor", "failurePolicy": "Ignore", "timeoutSeconds": 2, "timeoutEvalSeconds": 2,
                    "sideEffects": "NoneOnDryRun", "backgroundAudit": False, "mutating": False,
                }
                self.assertEqual({key: spec[key] for key in expected}, expected)

    def test_the_pods_are_restricted(self):
        for name in value_sets(lambda name: has(rendered(name), "StatefulSet")):
            with self.subTest(values=name):
                for pod in (find(rendered(name), "StatefulSet")["spec"]["template"]["spec"], find(rendered(name), "Pod")["spec"]):
                    self.assertIs(pod["automountServiceAccountToken"], False)
                    self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
                    self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                    for container in pod["containers"]:
                        context = container["securityContext"]
                        self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                        self.assertIs(context["allowPrivilegeEscalation"], False)
                        self.assertIs(context["readOnlyRootFilesystem"], True)

    def test_the_policy_server_has_neither_rights_nor_a_token(self):
        for name in value_sets(lambda name: has(rendered(name), "PolicyServer") and not values_of(name).get("policyServer", {}).get("serviceAccountName")):
            with self.subTest(values=name):
                server, account = find(rendered(name), "PolicyServer")["spec"], find(rendered(name), "ServiceAccount")
                self.assertEqual(server["serviceAccountName"], account["metadata"]["name"])
                self.assertIs(account["automountServiceAccountToken"], False)
                # Kubewarden's policy server ends at its start without a token, unless it is told that none is needed.
                self.assertIn({"name": "KUBEWARDEN_IGNORE_KUBERNETES_CONNECTION_FAILURE", "value": "true"}, server["env"])
                for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"):
                    self.assertFalse(has(rendered(name), kind))

    def test_an_account_that_is_named_is_the_policy_servers(self):
        server = find(rendered("everything"), "PolicyServer")["spec"]
        self.assertEqual(server["serviceAccountName"], "policy-server")
        self.assertFalse(has(rendered("everything"), "ServiceAccount"))
        self.assertNotIn("KUBEWARDEN_IGNORE_KUBERNETES_CONNECTION_FAILURE", [entry["name"] for entry in server["env"]])

    def test_the_pod_of_helm_test_gets_no_hand_offs(self):
        for name in value_sets(lambda name: has(rendered(name), "Pod")):
            with self.subTest(values=name):
                labels = find(rendered(name), "Pod")["metadata"]["labels"]
                for service in (document for document in rendered(name) if document["kind"] == "Service"):
                    self.assertFalse(service["spec"]["selector"].items() <= labels.items(), service["metadata"]["name"])

    def test_the_pod_of_helm_test_is_there_when_its_log_is_read(self):
        # `helm test --logs` reads it after the test, when Helm has removed what `hook-succeeded` names.
        for name in value_sets(lambda name: has(rendered(name), "Pod")):
            with self.subTest(values=name):
                annotations = find(rendered(name), "Pod")["metadata"]["annotations"]
                self.assertEqual(annotations["helm.sh/hook-delete-policy"], "before-hook-creation")

    def test_credentials_and_authorities_stand_under_the_address_in_the_settings(self):
        for name in value_sets(lambda name: has(rendered(name), "PolicyServer")):
            with self.subTest(values=name):
                address = find(rendered(name), "ClusterAdmissionPolicy")["spec"]["settings"]["warmer"]
                server = find(rendered(name), "PolicyServer")["spec"]
                self.assertIn(address, server["sourceAuthorities"])
                no_proxy = next(entry["value"] for entry in server["env"] if entry["name"] == "NO_PROXY")
                self.assertEqual(no_proxy.split(",")[0], address.rpartition(":")[0])
                if not values_of(name).get("policyServer", {}).get("imagePullSecret"):
                    self.assertIn(address, chart.registries(rendered(name), server["imagePullSecret"]))

    def test_the_credentials_secret_is_in_kubewardens_namespace(self):
        secret = find(rendered("everything"), "Secret", "warmer-registries")
        self.assertEqual(secret["metadata"]["namespace"], "cattle-kubewarden-system")
        self.assertEqual(chart.registries(rendered("everything"), "warmer-registries"), {
            "warmer.kubewarden.svc:443": "hub:correct-horse", "registry.example.com:5000": "puller:from-values",
        })

    def test_the_credentials_secret_outlives_the_policy_server_that_names_it(self):
        # Kubewarden refuses every update of a PolicyServer whose Secret is gone, and so the one that lets it go.
        for name in value_sets(lambda name: not values_of(name).get("policyServer", {}).get("imagePullSecret")):
            with self.subTest(values=name):
                secret, = (d for d in rendered(name) if d["kind"] == "Secret" and d["metadata"]["name"].endswith("-registries"))
                self.assertEqual(secret["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")

    def test_without_tls_the_policy_server_is_told_so(self):
        values = changed("existing-policy-server", tls={"enabled": False}, policyServer={"create": True})
        server = find(documents(chart.render(values)), "PolicyServer")["spec"]
        self.assertEqual(server["insecureSources"], ["harbor-warmer.kubewarden.svc:8443"])
        self.assertNotIn("sourceAuthorities", server)

    def test_a_pod_that_cannot_start_is_replaced_by_a_rollback(self):
        # With OrderedReady, the StatefulSet would wait for it to become ready first.
        for name in value_sets(lambda name: has(rendered(name), "StatefulSet")):
            with self.subTest(values=name):
                self.assertEqual(find(rendered(name), "StatefulSet")["spec"]["podManagementPolicy"], "Parallel")

    def test_an_empty_dir_takes_the_place_of_the_claim(self):
        values = changed("existing-policy-server", warmer__persistence={"enabled": False})
        spec = find(documents(chart.render(values)), "StatefulSet")["spec"]
        self.assertNotIn("volumeClaimTemplates", spec)
        self.assertIn({"name": "queue", "emptyDir": {"sizeLimit": "1Gi"}}, spec["template"]["spec"]["volumes"])

    def test_the_notes_warn_who_shares_a_policy_server(self):
        notes = chart.notes(values_file("existing-policy-server"))
        for text in ("sourceAuthorities", "NO_PROXY", "WARNING"):
            self.assertIn(text, notes)


class Keeping(Case):
    """What the chart makes up is kept by upgrades."""

    def test_an_upgrade_changes_nothing_that_was_made(self):
        with Cluster() as cluster:
            first = chart.render(values_file("minimal"), cluster=cluster)
            cluster.apply(documents(first))
            self.assertEqual(chart.render(values_file("minimal"), cluster=cluster), first)

    def test_the_server_trusts_the_authority_that_signed_the_certificate(self):
        made = rendered("minimal")
        server = find(made, "PolicyServer")["spec"]
        [authority] = server["sourceAuthorities"]["harbor-warmer.kubewarden.svc:8443"]
        leaf = chart.secret_data(find(made, "Secret", "harbor-warmer-tls"))["tls.crt"].decode()
        self.assertNotEqual(authority.strip(), leaf.strip())
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "ca.pem"
            path.write_text(authority)
            chart.run_openssl("verify", "-CAfile", str(path), "-verify_hostname", "harbor-warmer.kubewarden.svc", stdin=leaf)
        self.assertIn("CA:TRUE", chart.run_openssl("x509", "-noout", "-text", stdin=authority))
        self.assertNotIn("CA:TRUE", chart.run_openssl("x509", "-noout", "-text", stdin=leaf))

    def test_another_name_gets_another_certificate_of_the_same_authority(self):
        with Cluster() as cluster:
            first = documents(chart.render(values_file("minimal"), cluster=cluster))
            cluster.apply(first)
            values = changed("minimal", tls={"extraNames": ["warmer.example.com"]})
            second = documents(chart.render(values, cluster=cluster))
        certificate = lambda made, name: chart.secret_data(find(made, "Secret", f"harbor-warmer-{name}"))["tls.crt"]
        self.assertEqual(certificate(first, "ca"), certificate(second, "ca"))
        self.assertNotEqual(certificate(first, "tls"), certificate(second, "tls"))
        text = chart.run_openssl("x509", "-noout", "-text", stdin=certificate(second, "tls").decode())
        self.assertIn("DNS:warmer.example.com", text)

    def test_an_old_certificate_is_renewed(self):
        with Cluster() as cluster:
            first = documents(chart.render(values_file("minimal"), cluster=cluster))
            leaf = find(first, "Secret", "harbor-warmer-tls")
            issued = int(leaf["metadata"]["annotations"]["harbor-warmer.io/issued"])
            leaf["metadata"]["annotations"]["harbor-warmer.io/issued"] = str(issued - 3650 * 43200 - 60)
            cluster.apply(first)
            second = find(documents(chart.render(values_file("minimal"), cluster=cluster)), "Secret", "harbor-warmer-tls")
        self.assertNotEqual(leaf["data"], second["data"])

    def test_both_copies_of_a_made_password_are_the_same(self):
        made = rendered("minimal")
        password = chart.secret_data(find(made, "Secret", "harbor-warmer-clusters"))["default"].decode()
        self.assertRegex(password, "^[A-Za-z0-9]{32}$")
        self.assertEqual(chart.registries(made, "harbor-warmer-registries"), {"harbor-warmer.kubewarden.svc:8443": f"default:{password}"})

    def test_cert_manager_signs_with_the_charts_own_authority(self):
        with Cluster() as cluster:
            made = documents(chart.render(changed("minimal", tls={"certManager": {"enabled": True}}), cluster=cluster))
        self.assertEqual(find(made, "Issuer")["spec"]["ca"]["secretName"], "harbor-warmer-ca")
        ca = chart.secret_data(find(made, "Secret", "harbor-warmer-ca"))["tls.crt"].decode().strip()
        [authority] = find(made, "PolicyServer")["spec"]["sourceAuthorities"].popitem()[1]
        self.assertEqual(authority.strip(), ca)
        self.assertEqual(find(made, "Certificate")["spec"]["secretName"], "harbor-warmer-tls")
        with self.assertRaises(LookupError):
            find(made, "Secret", "harbor-warmer-tls")


class Mistakes(Case):
    """What would fail later fails here, with a sentence."""

    def test_without_a_cluster_nothing_is_made_up(self):
        self.assert_refused(values_file("minimal"), "without a cluster", "tls.existingSecret", "tls.caBundle")
        values = changed("minimal", tls=values_of("existing-policy-server")["tls"])
        self.assert_refused(values, "The cluster `default` has no password", "existingSecret")

    def test_who_tries_an_upgrade_is_told_of_the_dry_run_that_looks_things_up(self):
        self.assert_refused(values_of("minimal"), "--dry-run=server")

    def test_a_leaf_needs_its_authority(self):
        values = changed("existing-policy-server", tls={"existingSecret": "warmer-tls"})
        self.assert_refused(values, "tls.caBundle is missing")

    def test_values_that_speak_of_each_other_agree(self):
        values = changed("replication", targets={}, rules=[
            {"prefix": "docker.io/", "harbor": "eu", "project": "nowhere", "target": "gone"},
            {"prefix": "quay.io/", "harbor": "elsewhere", "project": "quay"},
        ])
        self.assert_refused(
            values,
            "rules[0].project: `nowhere` is not under harbors.eu.projects",
            "rules[0].target: `gone` is not under targets",
            "rules[1].harbor: `elsewhere` is not under harbors",
        )

    def test_a_harbor_and_its_projects_agree(self):
        values = changed(
            "replication",
            harbors__eu__projects={"hub": {"resolveThrough": "hub-index", "warmUntagged": False}, "hub-index": {"resolveThrough": "hub"}},
            harbors__us__kind="distribution",
            harbors__us__projects={"quay": {"keepWarm": True, "resolveThrough": "quay-index", "warmUntagged": False}, "quay-index": {}},
            harbors__us__concurrency={"initial": 33},
            targets__us={"harbor": "us", "credentials": {"username": "a", "password": "b"}, "replication": {"own": "c"}},
        )
        self.assert_refused(
            values,
            "harbors.eu.projects.hub.resolveThrough: `hub-index` has a resolveThrough itself",
            "harbors.us.projects.quay.resolveThrough: is for Harbor alone",
            "harbors.us.projects.quay.keepWarm: is for Harbor alone",
            "harbors.eu.projects.hub.warmUntagged: has no effect beside resolveThrough",
            "harbors.us.projects.quay.warmUntagged: is for Harbor alone",
            "harbors.us.concurrency.initial: must not be larger than max",
            "targets.us.harbor: `us` is of kind distribution",
        )

    def test_joining_needs_an_address_and_a_password(self):
        self.assert_refused(changed("joining", warmer={"create": False}), "warmer.url is missing")
        self.assert_refused(changed("joining", cluster={"name": "edge"}), "cluster.password is missing")

    def test_a_port_that_leaves_the_cluster_has_tls(self):
        plain = {"tls": {"enabled": False}, "policyServer": {"create": True}}
        for door in ({"loadBalancer": {"enabled": True, "host": "a.example.com"}}, {"ingress": {"enabled": True, "host": "a.example.com", "tlsSecret": "t"}}):
            self.assert_refused(changed("existing-policy-server", warmer=door, **plain), "needs tls.enabled")

    def test_the_schema_refuses_what_check_would(self):
        rule = {"prefix": "docker.io/", "harbor": "main", "project": "dockerhub"}
        harbor = values_of("minimal")["harbors"]["main"]
        target = {"harbor": "main", "credentials": {"username": "a", "password": "b"}, "replication": {"own": "c"}}
        pem = values_of("everything")["tls"]["caBundle"]
        cases = {
            "unknown key": {"harbours": {}},
            "harbor without projects": {"harbors__main": {k: v for k, v in harbor.items() if k != "projects"}},
            "url with a path": {"harbors__main__url": "https://harbor.example.com/v2"},
            "url without a scheme": {"harbors__main__url": "harbor.example.com"},
            "http without allowHttp": {"harbors__main__url": "http://harbor.example.com"},
            "name of a Harbor": {"harbors": {"Main": harbor}},
            "two ways to log in": {"harbors__main__credentials": {"username": "a", "password": "b", "existingSecret": {"name": "c"}}},
            "colon in a user name": {"harbors__main__credentials": {"username": "a:b", "password": "c"}},
            "transfer": {"harbors__main__projects": {"dockerhub": {"transfer": "pull"}}},
            "rule without a matcher": {"rules": [{"harbor": "main", "project": "dockerhub"}]},
            "rule with two matchers": {"rules": [rule | {"pattern": "x"}]},
            "rule without a project": {"rules": [{"prefix": "docker.io/", "harbor": "main"}]},
            "skip with a destination": {"rules": [rule | {"skip": True}]},
            "platform": {"platforms": ["amd64"]},
            "no platform": {"platforms": []},
            "platform in capitals": {"platforms": ["Linux/AMD64"]},
            "target called none": {"rules": [rule | {"target": "none"}]},
            "two replication policies": {"targets": {"a": target | {"replication": {"own": "a", "existing": "b"}}}},
            "namespace of an existing policy": {"targets": {"a": target | {"replication": {"existing": "a", "destNamespace": "b"}}}},
            "anonymous replication": {"targets": {"a": target | {"credentials": "anonymous"}}},
            "AWS account": {"rules": [{"ecr": {"accounts": ["1234"]}, "harbor": "main", "project": "dockerhub"}]},
            "authority beside insecureSkipVerify": {"harbors__main": harbor | {"insecureSkipVerify": True, "caBundle": pem}},
            "units in the wrong order": {"warmer__queue": {"lease": "30m1h"}},
            "duration without a unit": {"warmer__queue": {"lease": "60"}},
            "cluster name": {"cluster": {"name": "a b"}},
            "reserved cluster name": {"cluster": {"name": "anonymous"}},
            "maxImages": {"policy__maxImages": 51},
            "matchLabels": {"policy__namespaceSelector": {"matchLabels": {"a": "b"}}},
            "authority that is no PEM": {"tls__caBundle": "/etc/ssl/ca.crt"},
            "no capabilities": {"policyServer__namespacedPoliciesCapabilities": []},
            "time shorter than the drain": {"warmer__terminationGracePeriodSeconds": 5},
            "host that is taken for Docker Hub": {"warmer": {"create": False, "url": "https://warmer"}},
        }
        for mistake, changes in cases.items():
            with self.subTest(mistake):
                self.assert_refused(changed("minimal", **changes), "values don't meet the specifications of the schema")

    def test_every_value_is_in_the_readme(self):
        readme = (chart.CHART / "README.md").read_text()
        values = yaml.safe_load((chart.CHART / "values.yaml").read_text())

        def paths(map_, prefix=""):
            for key, value in map_.items():
                path = f"{prefix}{key}"
                if isinstance(value, dict) and value and f"`{path}`" not in readme:
                    yield from paths(value, f"{path}.")
                else:
                    yield path

        missing = [path for path in paths(values) if f"`{path}`" not in readme]
        self.assertEqual(missing, [])


if __name__ == "__main__":
    unittest.main()
