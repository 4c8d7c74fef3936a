"""Renders the chart, and lays out what a Pod of a rendering would see in its file system."""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/harbor-warmer"
TESTS = ROOT / "charts/tests"
VALUE_SETS = sorted(path.stem for path in (TESTS / "values").glob("*.yaml"))

# Its values leave everything secret to the chart, which keeps that by looking it up: it is rendered with a cluster.
WITH_CLUSTER = {"minimal"}

HELM = os.environ.get("HELM", "helm")
KUBERNETES = "1.34.0"


class Refused(Exception):
    """Helm rendered nothing; the text is what it said."""


def helm(*arguments, stdin=None):
    environment = {**os.environ, "KUBECONFIG": os.devnull}
    process = subprocess.run([HELM, *arguments], capture_output=True, text=True, input=stdin, env=environment)
    if process.returncode != 0:
        raise Refused(process.stderr)
    return process.stdout


def values_file(name):
    return TESTS / f"values/{name}.yaml"


def values_of(name):
    return yaml.safe_load(values_file(name).read_text())


def render(values, *, cluster=None, namespace="kubewarden", chart=CHART):
    """The text of a rendering. `values` is a file, or a map."""
    if isinstance(values, dict):
        arguments, stdin = ["--values", "-"], yaml.safe_dump(values)
    else:
        arguments, stdin = ["--values", str(values)], None
    if cluster is not None:
        arguments += ["--dry-run=server", "--kube-apiserver", cluster.url, "--kube-token", "none"]
    return helm("template", "harbor-warmer", str(chart), "--namespace", namespace, "--kube-version", KUBERNETES, *arguments, stdin=stdin)


def notes(values):
    """What `helm install` says at its end, which `helm template` leaves out."""
    with tempfile.TemporaryDirectory() as directory:
        copy = pathlib.Path(directory) / "harbor-warmer"
        shutil.copytree(CHART, copy)
        (copy / "templates/notes.yaml").write_text('notes: {{ include "hw.notes" . | toJson }}\n')
        return next(d["notes"] for d in documents(render(values, chart=copy)) if "notes" in d)


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def find(rendered, kind, name=None):
    found = [d for d in rendered if d.get("kind") == kind and name in (None, d["metadata"]["name"])]
    if len(found) != 1:
        raise LookupError(f"{len(found)} of kind {kind} called {name or 'anything'}")
    return found[0]


def has(rendered, kind):
    return any(document["kind"] == kind for document in rendered)


def secret_data(secret):
    data = {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
    return data | {key: value.encode() for key, value in (secret.get("stringData") or {}).items()}


def registries(rendered, name):
    """user and password by host, as Kubewarden's host reads them."""
    config = json.loads(secret_data(find(rendered, "Secret", name))[".dockerconfigjson"])
    return {host: base64.b64decode(entry["auth"]).decode() for host, entry in config["auths"].items()}


GENERATED = re.compile(r"^(\s*(?:tls\.crt|tls\.key|\.dockerconfigjson|\"?default\"?): ).+$", re.M)
ISSUED = re.compile(r"^(\s*harbor-warmer\.io/(?:issued|signed-by): ).+$", re.M)
PEM = re.compile(r"^( *)-----BEGIN CERTIFICATE-----\n(?:.*\n)*? *-----END CERTIFICATE-----$", re.M)


def settled(text):
    """A rendering without what chance made, so that two can be compared."""
    for pattern in (GENERATED, ISSUED):
        text = pattern.sub(r"\1<made>", text)
    return PEM.sub(r"\1<certificate>", text)


def run_openssl(*arguments, stdin=None):
    process = subprocess.run(["openssl", *arguments], capture_output=True, text=True, input=stdin)
    if process.returncode != 0:
        raise AssertionError(process.stderr + process.stdout)
    return process.stdout


def self_signed(directory):
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    run_openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=test",
                "-keyout", str(key), "-out", str(certificate))
    return {"tls.crt": certificate.read_bytes(), "tls.key": key.read_bytes()}


def stand_in(key, harbor_host):
    """What a Secret that people make themselves would hold under a key."""
    if key in ("tls.crt", "tls.key"):
        with tempfile.TemporaryDirectory() as directory:
            return self_signed(pathlib.Path(directory))[key]
    if key == ".dockerconfigjson":
        auth = base64.b64encode(b"robot$warmer:secret").decode()
        return f'{{"auths": {{"{harbor_host}": {{"auth": "{auth}"}}}}}}'.encode()
    return b"a-password\n"


def lay_out(rendered, directory, harbor_host):
    """Writes the warmer's `config` volume as the kubelet would; Secrets that the chart doesn't make get stand-ins."""
    pod = find(rendered, "StatefulSet")["spec"]["template"]["spec"]
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "config")
    pair = None
    for source in volume["projected"]["sources"]:
        kind = "Secret" if "secret" in source else "ConfigMap"
        reference = source.get("secret") or source["configMap"]
        try:
            object_ = find(rendered, kind, reference["name"])
        except LookupError:
            if kind == "ConfigMap":
                raise
            data = None
        else:
            data = secret_data(object_) if kind == "Secret" else {k: v.encode() for k, v in object_["data"].items()}
        for item in reference["items"]:
            if data is not None:
                content = data[item["key"]]
            elif item["key"].startswith("tls."):
                if pair is None:
                    pair = self_signed(directory)
                content = pair[item["key"]]
            else:
                content = stand_in(item["key"], harbor_host)
            path = directory / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return directory / "config.yaml"
