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
refused "token twice" tokenize $bpe "tokenizer.ggml.tokens[40]=$bad" "tokenizer.ggml.tokens[41]=$bad"
refused pre-tokenizer tokenize $bpe "tokenizer.ggml.pre=$bad"
refused merge tokenize $bpe "tokenizer.ggml.merges[0]=$bad x"
