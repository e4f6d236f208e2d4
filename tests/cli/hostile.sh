#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# hostile.sh: text of files that would act on a terminal or look like another line. tests/cli/test_cli.sh
# sources it.

# One error line, without a control character, that shows what the file holds.
bad='\x1b]0;t\x07\x1b[31m\nlockstep:verified'
refused() { # refused NAME COMMAND SOURCE CHANGE...: a file that differs by that
    python3 tests/cli/gguf_file.py "$3" "$dir/hostile.gguf" "${@:4}"
    expect 3 "hostile $1" "$2" "$dir/hostile.gguf" hi -q
    same "hostile $1: one line" "$(wc -l <"$dir/err")" 1
    same "hostile $1: no control character" "$(tr -d '\n' <"$dir/err" | grep -c '[[:cntrl:]]')" 0
    holds "hostile $1: what was found" "$(err)" "$bad"
}
refused architecture run $model "general.architecture=$bad"
refused tokenizer run $model "tokenizer.ggml.model=$bad"
refused tensor run $model "tensor:output.weight=blk.0.$bad"
refused scaling run $model "llama.rope.scaling.type=$bad"
bpe=tests/golden/tok-bpe.gguf
refused "byte token" tokenize $model "tokenizer.ggml.tokens[40]=$bad"
python3 tests/cli/gguf_file.py $model "$dir/hostile.gguf" "tokenizer.ggml.tokens[254]=$bad" \
    "tokenizer.ggml.tokens[255]=$bad" tokenizer.ggml.token_type[25{4,5}]=1
expect 0 "hostile token twice" tokenize "$dir/hostile.gguf" hi
same "hostile token twice: one line" "$(wc -l <"$dir/err")" 1
same "hostile token twice: no control character" "$(tr -d '\n' <"$dir/err" | grep -c '[[:cntrl:]]')" 0
holds "hostile token twice: what was found" "$(err)" "${bad:0:40}"
refused pre-tokenizer tokenize $bpe "tokenizer.ggml.pre=$bad"
refused merge tokenize $bpe "tokenizer.ggml.merges[0]=$bad x"

# What a file or a model says reaches a terminal as text; a pipe gets the bytes.
python3 tests/cli/gguf_file.py $model "$dir/hostile.gguf" 'general.name=a\x1b]0;t\x07\x9b31m\nb' \
    'tokenizer.ggml.tokens[240]=\x1b[31m' 'tokenizer.ggml.tokens[241]=\xc2\x9b1m' \
    'tokenizer.ggml.tokens[242]=\r\n' 'tokenizer.ggml.tokens[243]=\xe2\x82' \
    'tokenizer.ggml.tokens[244]=\xac' 'tokenizer.ggml.tokens[245]=\rx\t\xf0\x9f' \
    'tokenizer.ggml.token_type['{240,241,242,243,244,245}']=1'
python3 - "$program" "$dir/hostile.gguf" <<'PY'
import subprocess, sys
sys.path.insert(0, "tests/cli")
from terminal import Program, check, main
program, model = sys.argv[1:]
ids = "240 241 242 243 244 245"
def decoded(*options):
    p = Program([program, "tokenize", "--decode", *options, model, ids])
    check(p.end() == 0)
    return p.seen
def a_terminal_is_shown_them():
    shown = decoded()
    check(shown == b"\\x1b[31m\\u009b1m\r\n\xe2\x82\xac\\x0dx\t\\xf0\\x9f", shown)
def raw_output_sends_them():
    shown = decoded("--raw-output")
    check(shown == b"\x1b[31m\xc2\x9b1m\r\r\n\xe2\x82\xac\rx\t\xf0\x9f", shown) # \n is \r\n there
def a_pipe_gets_the_bytes():
    out = subprocess.run([program, "tokenize", "--decode", model, ids], stdout=subprocess.PIPE).stdout
    check(out == b"\x1b[31m\xc2\x9b1m\r\n\xe2\x82\xac\rx\t\xf0\x9f", out)
def names_are_one_line():
    for p in (Program([program, "inspect", model]),):
        check(p.end() == 0)
        check(b"\x1b" not in p.seen and b"name: a\\x1b]0;t\\x07\\x9b31m\\nb\r\n" in p.seen, p.seen[:240])
main([a_terminal_is_shown_them, raw_output_sends_them, a_pipe_gets_the_bytes, names_are_one_line])
PY
verdict "control characters on a terminal" $?
for command in "fly$(printf '\033')[31m" "run --fly$(printf '\033')[31m" "inspect ./$(printf '\033')[31m" \
    "run $model x --backend $(printf '\033')c" "pull $(printf '\033')c"; do
    # shellcheck disable=SC2086
    lk $command >/dev/null 2>"$dir/err" </dev/null
    lacks "an argument reaches no terminal as it is: $(printf %q "$command")" "$(err)" "$(printf '\033')"
done
