#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpora of the targets schema, grammar and regex into DIRECTORY/corpus_NAME.
Usage: make_corpus_grammar.py DIRECTORY."""
import json
import os
import sys

SEEDS = {
    "schema": {
        "object": {"type": "object", "properties": {"a": {"type": "string", "maxLength": 7},
                                                    "b": {"type": "integer", "minimum": -5, "maximum": 120}},
                   "required": ["a"], "additionalProperties": False},
        "tree": {"$defs": {"t": {"type": "object", "properties": {"v": {"type": "number"}, "l": {
            "type": "array", "items": {"$ref": "#/$defs/t"}, "minItems": 1}}}}, "$ref": "#/$defs/t"},
        "patterns": {"patternProperties": {"^x": {"type": "null"}, "y$": {"const": 3}},
                     "propertyNames": {"pattern": "^[a-z]{1,4}$"}, "minProperties": 1, "type": "object"},
        "combined": {"allOf": [{"anyOf": [{"type": "string"}, {"minimum": 0.25}]}, {"not": {"enum": [1, "a", None]}}],
                     "oneOf": [{"type": "number", "multipleOf": 0.5}, {"pattern": "^(?=.*[0-9])a+"}]},
        "if": {"if": {"required": ["k"]}, "then": {"properties": {"k": {"const": "v"}}}, "else": {"maxProperties": 2}},
        "formats": {"anyOf": [{"type": "string", "format": f} for f in ("date-time", "email", "uri", "ipv6", "hostname")]},
        "items": {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "boolean"}, {}],
                  "additionalItems": {"enum": ["ab", "abc", 1.50, [1], {"z": 1}]}, "maxItems": 40, "type": "array"},
        "refs": {"$id": "http://x/y", "$defs": {"a": {"$anchor": "n", "type": "null"}, "b/c": True},
                 "anyOf": [{"$ref": "#n"}, {"$ref": "#/$defs/b~1c"}, {"$ref": "http://x/y#n"}]},
        "refused": {"properties": {"q": {"contains": {}}}},
        "circle": {"$ref": "#"},
    },
    "grammar": {
        "list": 'root ::= ("- " item)+\nitem ::= [^\\n]+ "\\n"\n',
        "json": 'root ::= v\nv ::= "{" ws (s ":" ws v ("," ws s ":" ws v)*)? "}" | "[" (v ("," v)*)? "]" | s | '
                '"-"? [0-9]{1,15}\ns ::= "\\"" ([^"\\\\\\x7F\\x00-\\x1F] | "\\\\" (["\\\\bfnrt] | "u" [0-9a-fA-F]{4}))* '
                '"\\""\nws ::= | " " | "\\n" [ \\t]{0,20}\n',
        "tokens": 'root ::= <[3]> x !<[4]>* # any\nx ::= "a" x | ""\n',
        "left": 'root ::= a "b"\na ::= c? root | "x"\nc ::= "y"',
        "counters": 'root ::= (("a"{2,5} | "b"?){0,900} . [\\u00e9-\\U0001f600]){3,} ("c" | "cd"){,7}',
        "schema": 'root ::= "{\\"call\\": " %json {"type": "object", "properties": {"x": {"type": "integer"}}} "}"',
        "nest": "root ::= " + "(" * 60 + '"a"' + ")*" * 60,
        "missing": 'root ::= a | "b',
    },
    "regex": {
        "date": r"[0-9]{4}-(?:0[1-9]|1[0-2])-[0-3][0-9](?:T[0-9:]{8}Z)?",
        "password": r"^(?=.*[A-Z])(?=.*\d)(?!.*(?:foo|bar))[\w-.]{4,60}$",
        "unicode": r"(?:\p{Script=Greek}|[à-ÿ\u{1F600}-\u{1F64F}]|\ud83d\ude00)+[^\S\u2028]?",
        "counters": r"(?:(?:ab?){2,70}c{3}){1,1000}",
        "lazy": r"a*?(b|c+?)(?<n>d)??[^\s]\.\x41\cA",
        "class": r"[]a][^][\]\\^-]{,3}",
        "bad": r"(a|[b-",
        "search": r"(^|x)y($|z)|[a-z]*",
    },
}

for target, seeds in SEEDS.items():
    for name, seed in seeds.items():
        text = seed if isinstance(seed, str) else json.dumps(seed, ensure_ascii=False)
        with open(os.path.join(sys.argv[1], "corpus_" + target, name), "wb") as f:
            f.write(text.encode())
