#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# think.sh: thinking of a model: asked for by its template, shown or not, ended by a budget.
# tests/cli/test_cli.sh sources it.

cat >"$dir/think.jinja" <<'J'
{%- for m in messages %}<|im_start|>{{ m.role }}
{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{{ '<think>\n\n</think>\n\n' if enable_thinking is defined and not enable_thinking else '<think>\n' }}{% endif %}
J
# The tiny model writes letters without end; they have no meaning, so a budget ends its thinking.
think() { lk -q run "$chat" "once upon" --template "$dir/think.jinja" --ignore-eos -n 40 "$@" </dev/null; }
member() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

think --think-budget 7 --json >"$dir/json"
thought=$(think --think-budget 7 --thinking only) said=$(think --think-budget 7 --thinking hide)
[ -n "$(member thinking <"$dir/json")" ] && [ -n "$(member content <"$dir/json")" ]; verdict "--json has thinking and content apart" $?
holds "the text has both" "$(member text <"$dir/json")" "</think>"
same "shown between tags" "$(think --think-budget 7)" "$(printf '<think>\n%s\n</think>\n\n%s' "$thought" "$said")"
differ "--thinking hide and only" "$said" "$thought"
same "--thinking show" "$(think --think-budget 7 --thinking show)" "$(think --think-budget 7)"
same "--think on is what the template does by itself" "$(think --think on --think-budget 7)" "$(think --think-budget 7)"
holds "without a budget it goes on thinking" "$(think --thinking hide --json)" '"content":""'
lacks "a budget of nothing" "$(think --think-budget 0 --thinking only)" "${thought:0:4}"
n_ids() { member ids | tr -cd ',' | wc -c; }
same "forced tokens count" "$(n_ids <"$dir/json")" 39
off=$(think --think off)
lacks "--think off" "$off" "<think>"
same "--think off is the variable of the template" "$off" "$(think --template-args '{"enable_thinking": false}')"
same "what --template-args says counts" "$off" "$(think --think on --template-args '{"enable_thinking": false, "x": 1}')"
fitting() { lk -q run "$chat" "once upon" --template "$dir/think.jinja" --regex 'yes' "$@" </dev/null; }
same "a constraint begins behind thinking" "$(fitting --think-budget 5 --thinking hide)" "yes"
same "and at once without it" "$(fitting --think off)" "yes"
same "a model that does not think" "$(lk -q run "$chat" "once upon" -n 9 --thinking hide --think-budget 3 --ignore-eos </dev/null)" \
    "$(lk -q run "$chat" "once upon" -n 9 --ignore-eos </dev/null)"
printf 'once\nupon\n' | lk -q run "$chat" --chat --template "$dir/think.jinja" --think-budget 4 -n 20 --ignore-eos --save "$dir/thought.lks" >"$dir/out"
same "each answer of a dialogue thinks" "$(grep -c '^<think>$' "$dir/out")" 2
lacks "thinking is no part of a saved dialogue" "$(LC_ALL=C tr -cd '\n -~' <"$dir/thought.lks")" "think>"

# ---- what is refused ----
expect 3 "--think high without such a variable" run "$chat" x --template "$dir/think.jinja" --think high
holds "that is said" "$(err)" "--think: thinking 'high': the model's chat template has no variable for it"
expect 3 "--think of a template without" run "$chat" x --think on
expect 3 "--think without a template" run $model x --think on; holds "why" "$(err)" "--think: "
expect 2 "--think of another kind" run "$chat" x --think much
expect 2 "--raw and thinking" run "$chat" x --raw --thinking hide; holds "which" "$(err)" "--raw excludes --think"
expect 2 "a budget that is no number" run "$chat" x --think-budget 1k; holds "it" "$(err)" "'1k', expected a number of tokens"
expect 2 "a negative budget" run "$chat" x --think-budget=-1
