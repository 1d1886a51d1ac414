"""Compares documents with a JSON Schema: not a peer, but an independent validator.

Reads {"schema": ..., "documents": {name: document}} from stdin, prints {name: [what is wrong, ...]} as JSON. A schema that
is invalid is an error of the program.
"""

import json
import sys

from jsonschema import Draft202012Validator

asked = json.load(sys.stdin)
Draft202012Validator.check_schema(asked["schema"])
validator = Draft202012Validator(asked["schema"])
wrong = {
    name: [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    for name, document in asked["documents"].items()
}
json.dump(wrong, sys.stdout)
