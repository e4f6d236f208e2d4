#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# fits.sh: answers that must fit a schema, a grammar or a regular expression. tests/cli/test_cli.sh sources it.

fit() { lk -q run $model "once upon" "$@" </dev/null; }
cat >"$dir/person.json" <<'JSON'
{"type": "object", "additionalProperties": false, "required": ["name", "age", "tags"],
 "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
                "tags": {"type": "array", "items": {"enum": ["a", "b\"c"]}, "minItems": 1, "maxItems": 3}}}
JSON
printf 'root ::= ("- " [a-z]{1,5} "\\n"){2}\n' >"$dir/list.gbnf"
for temp in 0 2; do
    fit --schema "$dir/person.json" --temp $temp --seed 4 >"$dir/text"
    python3 - "$dir/text" <<'PY'
import json, sys
v = json.load(open(sys.argv[1], encoding="utf8"))
assert set(v) == {"name", "age", "tags"} and len(v["name"]) <= 12 and 0 <= v["age"] <= 130
assert 1 <= len(v["tags"]) <= 3 and all(t in ("a", 'b"c') for t in v["tags"])
PY
    verdict "--schema at temperature $temp" $?
    fit --grammar "$dir/list.gbnf" --temp $temp | grep -cxE -- '- [a-z]{1,5}' | grep -qx 2
    verdict "--grammar at temperature $temp" $?
    fit --regex '[A-F]{3}-(?:19|20)\d\d' --temp $temp | grep -qxE '[A-F]{3}-(19|20)[0-9]{2}'
    verdict "--regex at temperature $temp" $?
done
holds "what nothing can follow has ended" "$(fit --regex 'abc' --json)" '"finish":"eog"'
holds "an answer may be cut" "$(fit --regex '[a-z]{50,}' -n 3 --json)" '"finish":"length"'
same "the same everywhere" "$(fit --schema "$dir/person.json" -b scalar)" "$(fit --schema "$dir/person.json" -b cpu -t 2)"
# The rows are the model's: the first one's hash is the same with and without.
same "logits are not touched" "$(fit -n 1 --logits-sha256 --regex '[xyz]' | tail -n 1)" \
    "$(fit -n 1 --logits-sha256 --ignore-eos | tail -n 1)"
free=$(fit --ignore-eos -n 12)
same "asleep anything goes" "$(fit --ignore-eos -n 12)" "$free"
after=$(printf %s "$free" | LC_ALL=C grep -oaE '[!-~]' | head -n 1)
lk -q run $model "once upon" --regex '=[0-9]{2}!' --after "$after" >"$dir/text"
LC_ALL=C grep -qaE -- "^[^$after]*[$after]=[0-9]{2}!$" <(tr '\r\n' '  ' <"$dir/text" | sed 's/ *$//')
verdict "--after: what must fit begins behind it" $?

# ---- what is refused ----
echo '{"properties": {"a": {"contains": {}}}}' >"$dir/refused.json"
expect 3 "a keyword that is not supported" run $model x --schema "$dir/refused.json"
holds "it is named with its path" "$(err)" "refused.json: /properties/a/contains: not supported"
echo '{"type": ' >"$dir/refused.json"
expect 3 "no JSON" run $model x --schema "$dir/refused.json"; holds "where" "$(err)" "line 2 column 1"
echo 'root ::= root "a" | "b"' >"$dir/refused.gbnf"
expect 3 "left recursion" run $model x --grammar "$dir/refused.gbnf"; holds "the rule" "$(err)" "rule 'root' begins with itself"
expect 3 "no such schema" run $model x --schema "$dir/nothing.json"; holds "the file" "$(err)" "nothing.json"
expect 2 "a broken expression" run $model x --regex '('; holds "its place" "$(err)" "--regex: byte 0: '(' without ')'"
expect 2 "an expression that nothing fits" run $model x --regex 'a(?=b)c'; holds "that is said" "$(err)" "no text fits it"
expect 2 "two at once" run $model x --regex a --schema "$dir/person.json"
expect 2 "without an end" run $model x --regex a --ignore-eos
expect 2 "--after alone" run $model x --after a; holds "what it needs" "$(err)" "--after needs"
expect 2 "--after of nothing" run $model x --regex a --after ""
only=$(fit --regex b --json | sed -n 's/.*"ids":\[\([0-9]*\)\].*/\1/p')
expect 2 "a bias that leaves nothing" run $model x --regex b --logit-bias "$only=-inf"
holds "that is said" "$(err)" "every token that may come has a logit of -inf"
