"""Just enough of a Kubernetes API server for the chart's `lookup`: discovery, Namespaces and Secrets, read-only."""

import http.server
import json
import threading


class Cluster:
    """Serves on loopback until it is closed. `secrets` is {(namespace, name): Secret}."""

    def __init__(self):
        self.secrets = {}
        cluster = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = cluster.answer(self.path.partition("?")[0])
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.server.server_close()

    def apply(self, documents):
        """Takes in the Secrets of a rendering."""
        for document in documents:
            if document["kind"] == "Secret":
                metadata = document["metadata"]
                self.secrets[metadata["namespace"], metadata["name"]] = document

    def answer(self, path):
        parts = path.strip("/").split("/")
        match parts:
            case ["version"]:
                return 200, {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
            case ["api"]:
                return 200, {"kind": "APIVersions", "versions": ["v1"]}
            case ["apis"]:
                return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}
            case ["api", "v1"]:
                resource = lambda name, kind, namespaced: {
                    "name": name, "singularName": kind.lower(), "kind": kind, "namespaced": namespaced,
                    "verbs": ["get", "list"],
                }
                resources = [resource("namespaces", "Namespace", False), resource("secrets", "Secret", True)]
                return 200, {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources}
            case ["api", "v1", "namespaces", "kube-system"]:
                return 200, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
            case ["api", "v1", "namespaces", namespace, "secrets", name] if (namespace, name) in self.secrets:
                return 200, self.secrets[namespace, name]
        message = f"{path} not found"
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        return 404, {**status, "message": message}
