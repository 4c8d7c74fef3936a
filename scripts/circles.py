#!/usr/bin/env python3
"""Files that import each other in a circle, crate by crate; a parent module and its children may.

Reads `crate::` and `super::` paths as text: of each, the file of the longest prefix that is a module. Cargo itself
forbids circles of crates.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATH = re.compile(r"\b(crate|(?:super::)+)(?:::)?((?:[a-z_][a-z0-9_]*::)*(?:[a-z_][a-z0-9_]*)?)")


def modules(source: Path) -> dict[tuple[str, ...], Path]:
    found = {}
    for file in sorted(source.rglob("*.rs")):
        parts = file.relative_to(source).with_suffix("").parts
        if parts[-1] in ("lib", "main"):
            parts = parts[:-1]
        if "tests" not in parts and parts[-1:] != ("fixtures",):
            found[parts] = file
    return found


def without_tests(text: str) -> str:
    return re.split(r"^#\[cfg\(test\)\]\nmod tests \{", text, maxsplit=1, flags=re.M)[0]


def imports(module: tuple[str, ...], text: str, known: dict) -> set[tuple[str, ...]]:
    found = set()
    # A list in braces names several: `crate::a::{b::C, d}`.
    text = re.sub(r"//.*", "", text)
    text = re.sub(r"((?:crate|super)(?:::[a-z_0-9]+)*)::\{([^{}]*)\}",
                  lambda m: " ".join(f"{m[1]}::{name.strip()} " for name in m[2].split(",")), text)
    for start, rest in PATH.findall(text):
        base = () if start == "crate" else module[: len(module) - start.count("super")]
        parts = base + tuple(part for part in rest.split("::") if part)
        while parts and parts not in known:
            parts = parts[:-1]
        if parts != module:
            found.add(parts)
    return found


def related(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def circles(graph: dict) -> list[list]:
    """Strongly connected components of more than one module (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while True:
                component.append(stack.pop())
                if component[-1] == node:
                    break
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def main() -> int:
    sys.setrecursionlimit(10_000)
    failed = 0
    for source in [ROOT / "src", *sorted((ROOT / "crates").glob("*/src"))]:
        known = modules(source)
        graph = {
            module: {
                other
                for other in imports(module, without_tests(file.read_text()), known)
                if other in known and not related(module, other)
            }
            for module, file in known.items()
        }
        for circle in circles(graph):
            failed = 1
            names = ", ".join("::".join(module) for module in circle)
            print(f"{source.relative_to(ROOT)}: import each other in a circle: {names}", file=sys.stderr)
            for module in circle:
                to = ["::".join(other) for other in graph[module] if other in circle]
                print(f"    {'::'.join(module)} -> {', '.join(to)}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
