"""schemas.py SWAGGER DIR: write the JSON schema of each kind of Kubernetes objects as kubeconform wants it, strict: a field that the API does not know is an error."""
import json, pathlib, sys

swagger, out = json.load(open(sys.argv[1])), pathlib.Path(sys.argv[2])
definitions = swagger["definitions"]
prefix = "io.k8s.apimachinery.pkg."
definitions[prefix + "util.intstr.IntOrString"] = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
definitions[prefix + "api.resource.Quantity"] = {"oneOf": [{"type": "string"}, {"type": "number"}]}


def refs(x):
    """All definitions that x refers to; objects with known properties are closed on the way."""
    if isinstance(x, list):
        for y in x:
            yield from refs(y)
    elif isinstance(x, dict):
        if isinstance(x.get("properties"), dict) and "additionalProperties" not in x:
            x["additionalProperties"] = False
        if isinstance(x.get("$ref"), str):
            yield x["$ref"].removeprefix("#/definitions/")
        for y in x.values():
            yield from refs(y)


def reached(name):
    seen, todo = {}, [name]
    while todo:
        n = todo.pop()
        if n not in seen:
            seen[n] = definitions[n]
            todo += refs(definitions[n])
    return seen


out.mkdir(parents=True, exist_ok=True)
count = 0
for name, d in definitions.items():
    for gvk in d.get("x-kubernetes-group-version-kind", []):
        group = gvk["group"].split(".")[0]
        file = "-".join(p for p in (gvk["kind"].lower(), group, gvk["version"].lower()) if p)
        if "." in name and name.endswith("." + gvk["kind"]):
            (out / f"{file}.json").write_text(json.dumps({"$ref": "#/definitions/" + name, "definitions": reached(name)}))
            count += 1
print(f"{count} kinds of Kubernetes {swagger['info']['version']}", file=sys.stderr)
