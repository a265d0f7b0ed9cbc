#!/usr/bin/env python3
"""Holds every resource, data source, block and argument of the Terraform modules against the schema of AWS' provider.

usage: tests/modules/schema.py SCHEMA MODULE...        prints what does not fit and ends with 1 then
       tests/modules/schema.py --extract ASSEMBLY      prints the SCHEMA: what is needed of an assembly of jsii

The schema is that of the release of the provider that the package cdktf-cdktf-provider-aws was made from: its assembly has
a type for each resource, data source and block, in camel case, and says which arguments must be given.
"""

import json
import pathlib
import sys

# Of Terraform itself ("Meta-Arguments" in its documentation).
META = {"count", "for_each", "depends_on", "lifecycle", "provider", "connection", "provisioner"}
PREFIX = "@cdktf/provider-aws."


def extract(assembly):
    """The arguments of each type that has any: whether one is optional, and which type or kind its value has."""
    types = {}
    for name, described in assembly["types"].items():
        if described["kind"] != "interface" or not name.startswith(PREFIX):
            continue
        types[name.removeprefix(PREFIX)] = {
            it["name"]: {"optional": it.get("optional", False), "type": value_type(it["type"])}
            for it in described.get("properties", [])
        }
    return {"version": assembly["version"], "types": types}


def value_type(described):
    """The type of a block by its name; `text`, `number`, `boolean`, `array` and `map` of these; else `any`."""
    if "union" in described:
        kinds = [value_type(it) for it in described["union"]["types"] if it.get("fqn") != "cdktf.IResolvable"]
        return kinds[0] if kinds else "any"
    if "collection" in described:
        inner = value_type(described["collection"]["elementtype"])
        if inner.startswith("#"):
            return inner
        return described["collection"]["kind"]
    if "fqn" in described:
        name = described["fqn"]
        return "#" + name.removeprefix(PREFIX) if name.startswith(PREFIX) else "any"
    return {"string": "text"}.get(described.get("primitive"), described.get("primitive", "any"))


class Check:
    """What does not fit in one file."""

    def __init__(self, schema, file):
        self.types, self.file, self.problems = schema["types"], file, []

    def run(self, document):
        for kind, prefix in (("resource", ""), ("data", "Data")):
            for entry in document.get(kind, []):
                for quoted, named in entry.items():
                    for name, body in named.items():
                        self.resource(prefix, bare(quoted), bare(name), body)
        for entry in document.get("provider", []):
            for name, body in entry.items():
                self.block(f"provider {bare(name)}", "provider.AwsProviderConfig", body)
        return self.problems

    def resource(self, prefix, kind, name, body):
        place = f"{'data ' if prefix else ''}{kind}.{name}"
        camel = to_camel(("data_" if prefix else "") + kind if prefix else kind.removeprefix("aws_"))
        struct = camel[0].upper() + camel[1:]
        struct = f"{camel}.{struct}Config"
        if struct not in self.types:
            self.say(place, f"the provider has no such {'data source' if prefix else 'resource'}")
            return
        self.block(place, struct, body, META)

    def block(self, place, struct, body, meta=frozenset()):
        arguments = self.types[struct]
        given = {}
        for name, value in body.items():
            if name.startswith("__") or bare(name) in meta:
                continue
            if name == "dynamic":
                for entry in value:
                    for inner, dynamic in entry.items():
                        if not inner.startswith("__"):
                            given[bare(inner)] = (dynamic["content"], True)
                continue
            blocks = value if isinstance(value, list) else [value]
            is_block = any(isinstance(it, dict) and it.get("__is_block__") for it in blocks)
            given[bare(name)] = (blocks if is_block else value, is_block)
        known = {to_camel(name): name for name in given}
        for name, argument in arguments.items():
            if not argument["optional"] and name not in known and name not in meta:
                self.say(place, f"`{to_snake(name)}` must be given")
        for name, (value, is_block) in given.items():
            argument = arguments.get(to_camel(name))
            if argument is None:
                self.say(place, f"the provider knows no `{name}` here")
            elif is_block and not argument["type"].startswith("#"):
                self.say(place, f"`{name}` is an argument of type {argument['type']}, and no block")
            elif is_block:
                for it in value:
                    self.block(f"{place}.{name}", argument["type"][1:], it)
            else:
                self.value(place, name, argument["type"], value)

    def value(self, place, name, wanted, value):
        """A literal has the type that is wanted. What is computed is Terraform's to check."""
        if isinstance(value, str) and not value.startswith('"'):
            return  # an expression
        found = {bool: "boolean", int: "number", float: "number", str: "text", list: "array", dict: "map"}.get(type(value))
        fits = found == wanted or wanted == "any" or found is None or (found in ("array", "map") and wanted.startswith("#"))
        if not fits:
            self.say(place, f"`{name}` is {'a block' if wanted.startswith('#') else 'of type ' + wanted}, and {found} is given")

    def say(self, place, problem):
        self.problems.append(f"{self.file}: {place}: {problem}")


def bare(name):
    return name.strip('"')


def to_camel(name):
    first, *rest = name.split("_")
    return first + "".join(it[:1].upper() + it[1:] for it in rest)


def to_snake(name):
    return "".join(f"_{it.lower()}" if it.isupper() else it for it in name)


def main():
    if sys.argv[1] == "--extract":
        json.dump(extract(json.loads(pathlib.Path(sys.argv[2]).read_bytes())), sys.stdout)
        return 0
    import hcl2

    schema = json.loads(pathlib.Path(sys.argv[1]).read_bytes())
    problems = []
    for module in sys.argv[2:]:
        for file in sorted(pathlib.Path(module).glob("*.tf")):
            problems += Check(schema, file).run(hcl2.loads(file.read_text()))
    print(*problems, sep="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
