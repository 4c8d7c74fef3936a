"""Lays schemas out as kubeconform looks them up: VERSION/KIND-GROUP-VERSION.json, each file whole in itself.

    schemas.py fetched DESTINATION DOWNLOADED VERSION…   DOWNLOADED: the wheel of kubernetes-validate, CRDs in `crds`
    schemas.py own DESTINATION VERSION…                  Kubewarden's resources, which schemas/ describes by hand
"""

import json
import pathlib
import re
import sys
import zipfile

import yaml

OWN = pathlib.Path(__file__).parent / "schemas"
REFERENCE = re.compile(r'"(?:(?:/api/)?_definitions\.json)?#/\$defs/([^"]+)"')


def closed(schema):
    """No field that isn't there, as the API server's strict validation has it."""
    if isinstance(schema, dict):
        schema = {key: closed(value) for key, value in schema.items()}
        if "properties" in schema and "additionalProperties" not in schema:
            if not schema.get("x-kubernetes-preserve-unknown-fields"):
                schema["additionalProperties"] = False
        return schema
    return [closed(item) for item in schema] if isinstance(schema, list) else schema


def whole(text, definitions):
    """The schema with every definition that it needs."""
    wanted, found = set(REFERENCE.findall(text)), {}
    while wanted:
        name = wanted.pop()
        found[name] = json.dumps(definitions[name])
        wanted |= set(REFERENCE.findall(found[name])) - found.keys()
    local = lambda text: json.loads(REFERENCE.sub(r'"#/$defs/\1"', text))
    return {**local(text), "$defs": {name: local(text) for name, text in found.items()}}


def write(path, schema):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(schema))


def kubernetes(wheel, destination, version):
    prefix = f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict/"
    with zipfile.ZipFile(wheel) as archive:
        texts = {name.removeprefix(prefix): archive.read(name).decode() for name in archive.namelist() if name.startswith(prefix)}
    definitions = json.loads(texts.pop("_definitions.json"))
    write(destination / f"v{version}/_definitions.json", definitions)
    for name, text in texts.items():
        # Only what an API server serves by itself.
        if '"apiVersion"' in text and '"x-kubernetes-group-version-kind"' in text and '"metadata"' in text:
            write(destination / f"v{version}" / name, whole(text, definitions["$defs"]))


def custom(path, destination):
    definition = yaml.safe_load(path.read_text())["spec"]
    kind, group = definition["names"]["kind"].lower(), definition["group"].partition(".")[0]
    for version in definition["versions"]:
        schema = closed(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        write(destination / "crds" / f"{kind}-{group}-{version['name']}.json", schema)


def fetched(destination, downloaded, *versions):
    downloaded = pathlib.Path(downloaded)
    [wheel] = downloaded.glob("*.whl")
    for version in versions:
        kubernetes(wheel, destination, version)
    for path in (downloaded / "crds").glob("*.yaml"):
        custom(path, destination)


def own(destination, *versions):
    for version in versions:
        definitions = json.loads((destination / f"v{version}/_definitions.json").read_text())["$defs"]
        for path in OWN.glob("*.json"):
            write(destination / f"v{version}" / path.name, whole(path.read_text(), definitions))


if __name__ == "__main__":
    command, destination, *rest = sys.argv[1:]
    {"fetched": fetched, "own": own}[command](pathlib.Path(destination), *rest)
