#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage.sh: the command line: help, unknown words, values out of their range, exit codes. tests/cli/test_cli.sh sources it.

expect 0 "--help" --help; holds "--help lists commands" "$(out)" perplexity; same "--help is quiet" "$(err)" ""
for c in run perplexity tokenize inspect bench check pull list rm devices generate; do
    expect 0 "$c --help" $c --help; holds "$c --help" "$(out)" "usage: lockstep $c"
done
expect 0 "--version" --version; holds "--version has numerics" "$(out)" "numerics 1"
expect 2 "no command"; same "no command: stdout" "$(out)" ""
expect 2 "unknown command" fly; holds "unknown command is named" "$(err)" "'fly'"
expect 2 "unknown option" run $model x --fly; holds "unknown option is named" "$(err)" "--fly"
expect 2 "missing value" run $model x --seed
expect 2 "bad number" run $model x -n 1x; holds "bad number is named" "$(err)" "'1x'"
expect 2 "number out of range" run $model x --top-p 1.5
expect 2 "bad choice" run $model x --backend warp; holds "choices are listed" "$(err)" "scalar"
expect 2 "too many arguments" inspect $model x
expect 2 "bad bias" run $model x --logit-bias 5
expect 2 "bad move" run $model x --move-at cpu
expect 2 "empty stop" run $model x --stop ""
expect 2 "raw and chat" run $model --raw --chat
expect 2 "context beyond the model's" run $model x --ctx 100000
expect 3 "no such file" run ./nothing.gguf x; holds "the file is named" "$(err)" "nothing.gguf"
expect 3 "no model" inspect CMakeLists.txt/
expect 3 "broken model" inspect "$dir/broken.gguf"
expect 3 "unknown name" pull no-such-model
expect 3 "chat without a template" run $model --chat
expect 3 "empty text" perplexity $model /dev/null --ctx 64
err | grep -q $'\033'; [ $? -ne 0 ]; verdict "no colors off a terminal" $?
