#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check.sh: check and run --test. tests/cli/test_cli.sh sources it.

expect 0 "check" check $model --quick --backend cpu --report "$dir/report.html"
holds "check: the verdict comes last" "$(out | tail -n 1)" "EQUAL: "
holds "check says what was not run" "$(out)" "--backend cpu was asked for"
same "check is quiet off a terminal" "$(err)" ""
holds "the page has the verdict" "$(cat "$dir/report.html")" "Equal</b>"
python3 - "$dir/report.html" <<'END'
import html.parser, re, sys
text = open(sys.argv[1]).read()
class Page(html.parser.HTMLParser):
    open_tags, bad, tags = [], [], 0
    def handle_starttag(self, tag, attrs):
        self.tags += 1
        # the page loads nothing: no scripts, pictures, style sheets, addresses
        if tag in ("script", "img", "link", "iframe", "a") or any(k in ("src", "href") for k, v in attrs):
            self.bad.append(tag)
page = Page()
page.feed(text)
sys.exit(not (page.tags > 100 and not page.bad and "://" not in text and "url(" not in text))
END
verdict "the page needs nothing else" $?
lk check $model --quick --backend cpu --json --report "$dir/report.json" | python3 -c 'import json, sys
c = json.load(sys.stdin)
d = json.load(open(sys.argv[1]))
sys.exit(not (c["verdict"] == d["verdict"] == "equal" and "difference" not in c
    and len(c["cells"]) == c["layers"] + 2 and len(c["fingerprint"]) == len(c["weights_sha256"]) == 64
    and all(len(row) == len(c["columns"]) for row in c["cells"])
    and {e["state"] for e in c["entries"]} == {"equal", "within", "not run"}))' "$dir/report.json"
verdict "check --json" $?
expect 0 "run --test" run $model --test --backend cpu; holds "run --test checks" "$(out | tail -n 1)" "EQUAL: "
expect 2 "run --test with a prompt" run $model x --test
expect 0 "run --test --quick" run $model --test --quick --backend cpu --only layer=1 --report "$dir/run.json"
holds "run --test writes a certificate" "$(cat "$dir/run.json")" '"verdict":"equal"'
expect 2 "run --quick" run $model x --quick; holds "it is named" "$(err)" "need --test"
expect 0 "check one op" check $model --backend cpu --only layer=1,op=attention
holds "check repeats itself" "$(out)$(lk check $model --backend cpu --only layer=head --json)" '--only layer=head'
for only in layer= layer=x layer=-1 op= attention layer=1op=x ''; do
    expect 2 "check --only '$only'" check $model --backend cpu --only "$only"
done
expect 2 "check of a layer beyond" check $model --only layer=99; holds "it is named" "$(err)" "layer 99"
expect 5 "check on no such device" check $model --device 'no such device'
expect 3 "check of a broken model" check "$dir/broken.gguf"
expect 3 "check with a report nowhere" check $model --quick --backend cpu --report "$dir/no/where.html"
expect 5 "nothing to switch off" devices --device 'no such device' --switch-off mapped
