/* SPDX-License-Identifier: Apache-2.0
 *
 * Params: push constants of every kernel and the layout of the batch buffer, one text compiled as
 * C and as GLSL. All members are 32-bit words (floats as their bits), so both agree on offsets.
 */
#ifndef LK_VK_PARAMS_H
#define LK_VK_PARAMS_H

#ifdef LK_GLSL
#define LK_PARAMS_U32 uint
#else
#include <stdint.h>
#define LK_PARAMS_U32 uint32_t
#endif

#define LK_VK_ROWS             32  /* rows of a weight interleaved: one for each lane */
#define LK_VK_PANEL            256 /* = LK_PANEL */
#define LK_VK_BINDINGS         8
#define LK_VK_PUSH_BYTES       128 /* of push constants: what every device has */
#define LK_VK_ALIGN            256 /* of what is bound: what every device takes */
#define LK_VK_MAX_DIM          640 /* of a key, padded: size of arrays in the attention kernel */
#define LK_VK_MAX_V_DIM        512 /* of a value, padded: of what an invocation has of it */
#define LK_VK_DECODE_DIM       256 /* the same of the kernel with what stands in front of it */
#define LK_VK_DECODE_MERGE     64  /* chunks of keys that this kernel folds itself */
#define LK_VK_ROPE_PAIRS       256 /* of a row: what a workgroup of rope takes */
#define LK_VK_ATTN_ROWS        16  /* query rows of a workgroup of attention */
#define LK_VK_ATTN_OWN         4   /* of them, those of 32 invocations */
#define LK_VK_ATTN_FEW_ROWS    8   /* rows of a workgroup of 32 invocations, for few tokens */
#define LK_VK_ATTN_MATRIX_ROWS 64  /* of a workgroup of attention by matrices */
/* Its subgroups of 32 for 16 rows: a head's padded dimension is a multiple of 32 of them. */
#define LK_VK_ATTN_MATRIX_PARTS(dim) ((dim) > 128u ? 2u : 1u)
#define LK_VK_ATTN_SPLIT             1u
#define LK_VK_ATTN_CAP               4u  /* scores have a soft cap */
#define LK_VK_ATTN_SINK              8u  /* softmax has a sink for each head */
#define LK_VK_ATTN_K8                2u  /* cells of K have 8 bits */
#define LK_VK_ATTN_SHARE             16u /* attn_matrix: values take the place of keys */
#define LK_VK_ATTN_DECODE            32u /* attn_merge: behind attn_decode */
/* Added to flags of attn_matrix: outputs are activations, LK_VK_X_Q32 or LK_VK_X_Q256. */
#define LK_VK_ATTN_FORM(form) ((form) << 6)
/* Added to flags: the padded dimension of a value, of attn alone. */
#define LK_VK_ATTN_VALUES(dim) ((dim) / 32u << 8)
#define LK_VK_MAX_COLS         8 /* tokens of one mat-vec workgroup */

/* How activations are handed to a matmul. */
#define LK_VK_X_F32  0 /* as they are */
#define LK_VK_X_Q32  1 /* int8 in blocks of 32 */
#define LK_VK_X_Q256 2 /* int8 in blocks of 256 */
#define LK_VK_X_R13  3 /* rounded to 13 bits, for F16 weights */
#define LK_VK_X_R16  4 /* rounded to 16 bits, for BF16 weights */

/* Epilogue of a matmul. */
#define LK_VK_EPI_STORE 0
#define LK_VK_EPI_ADD   1 /* out1 = flush(residual + flush(y)) */
#define LK_VK_EPI_SILU  2 /* out0 = silu(gate) * up; gate rows come first */
#define LK_VK_EPI_GELU  3
/* The rows are those that go to experts, and the weights those of all experts; see matmul_push. A
 * bit above what a kernel keeps of its epilogue. */
#define LK_VK_EPI_EXPERTS 256
/* Beside it: the rows are those of heads, one of each a token, and so are the weights. */
#define LK_VK_EPI_HEADS 1024
/* 8 rows a workgroup of a mat-vec of floats, a quarter of a row group: for few of them. */
#define LK_VK_EPI_NARROW 512

/* What a mat-vec of decode does to its input first, in every workgroup. */
#define LK_VK_PREP_NONE  0 /* nothing: it is an activation buffer */
#define LK_VK_PREP_QUANT 1 /* quantize */
#define LK_VK_PREP_NORM  2 /* RMS norm, then quantize */

/* Elementwise kernels. */
#define LK_VK_ELT_ADD     0
#define LK_VK_ELT_BIAS    1
#define LK_VK_ELT_SILU    2
#define LK_VK_ELT_GELU    3
#define LK_VK_ELT_SOFTCAP 4
#define LK_VK_ELT_SCALE   5 /* by cap_in */
#define LK_VK_ELT_CLAMPED 6
#define LK_VK_ELT_SIGMOID 7
#define LK_VK_ELT_GATE    9
#define LK_VK_ELT_PRODUCT 10
#define LK_VK_ELT_RELU    12
#define LK_VK_ELT_ERF     11 /* GELU by the error function */
#define LK_VK_ELT_PICK    8  /* of each cap_in columns those from cap_out on */
#define LK_VK_ELT_JOIN    13 /* cap_in columns of in0, the rest of `width` of in1 */

/* embed: row token[t], or row pos[t], of a weight chunk -> out[t] */
struct lk_vk_embed_push {
    LK_PARAMS_U32 n_tokens, cols;
    LK_PARAMS_U32 row0, n_rows; /* rows of the whole weight that this chunk holds */
    LK_PARAMS_U32 n_blocks;     /* blocks of a row (float types: of 8 or 4 elements) */
    LK_PARAMS_U32 mid, tail;    /* word offsets of the chunk's sections */
    LK_PARAMS_U32 scale;        /* bits of f32 */
    LK_PARAMS_U32 tokens;       /* word offset of the rows' numbers in the batch buffer */
    LK_PARAMS_U32 op;
};

/* norm: rows of `width` in groups of `group`; then quantize into x when the variant does */
#define LK_VK_NORM_ADD    1
#define LK_VK_NORM_GLU    2
#define LK_VK_NORM_CENTRE 16 /* a layer norm */
struct lk_vk_norm_push {
    LK_PARAMS_U32 n_rows, width, group;
    LK_PARAMS_U32 apart;      /* from a group's weights to the next one's; 0: they are the same */
    LK_PARAMS_U32 eps, inv_n; /* bits */
    LK_PARAMS_U32 store;      /* whether the plain result is wanted too */
    LK_PARAMS_U32 op;
    LK_PARAMS_U32 x_stride, x_d, x_s; /* activation buffer: see quantize */
    LK_PARAMS_U32 op_next;            /* of the fused add */
};

/* quantize: rows of `width`, or the GLU of two, -> activation buffer. Words: q [row][x_stride] from
 * 0 (4 int8 each; or floats), d [row][x_stride * 4 / block] from x_d, sums from x_s: blocks of 32:
 * f32 d * sum(q); blocks of 256: [row][8 for each block] pairs of int16, each the sum of 16 q */
struct lk_vk_quantize_push {
    LK_PARAMS_U32 n_rows, width;
    LK_PARAMS_U32 x_stride, x_d, x_s;
    LK_PARAMS_U32 op; /* of the GLU */
};

/* matvec and matmul: out[t][row] for the row groups of a chunk. Up to three outputs: row groups
 * [0, rg1) belong to out0, [rg1, rg2) to out1, the rest to out2, n0..n2 rows each. The GLU
 * epilogues take row group i of the first and rg1 + i of the second half.
 * Of experts, of whose rows there are n_tokens: rg1 row groups each, n0 rows; at0 is the first row
 * group of the chunk; rg2 rows have one row of activations. A mat-vec finds the expert of row r in
 * the row r / w2 of ROUTE, which has w1 floats; a tile finds its rows as sort has put them.
 * Of heads likewise: row r is of head r % w2, a tile has up to w1 rows of one. */
struct lk_vk_matmul_push {
    LK_PARAMS_U32 n_tokens;
    LK_PARAMS_U32 tile0;    /* number of the first tile; those of the same rows are neighbours */
    LK_PARAMS_U32 n_groups; /* row groups of the chunk */
    LK_PARAMS_U32 k;        /* elements of a row */
    LK_PARAMS_U32 n_blocks; /* blocks of a row, as in embed */
    LK_PARAMS_U32 mid, tail;
    LK_PARAMS_U32 x_stride, x_d, x_s;
    LK_PARAMS_U32 rg1, rg2;
    LK_PARAMS_U32 n0, n1, n2; /* rows of each output in this chunk */
    LK_PARAMS_U32 w0, w1, w2; /* row widths (floats) of the output slots */
    LK_PARAMS_U32 at0;        /* first row of this chunk in output 0 */
    LK_PARAMS_U32 op0, op1, op2;
    LK_PARAMS_U32 op_next;             /* of the fused add or GLU */
    LK_PARAMS_U32 eps, inv_n, op_norm; /* of the norm in front, bits */
};

/* rope */
struct lk_vk_rope_push {
    LK_PARAMS_U32 n_rows, n_head, head_dim, n_dims, interleaved;
    LK_PARAMS_U32 cs, cs_stride; /* word offset and stride a token in the batch buffer */
    LK_PARAMS_U32 op;
};

/* kv_store */
struct lk_vk_kv_push {
    LK_PARAMS_U32 n_tokens, n_kv_head, head_dim, dim, k_bits;
    LK_PARAMS_U32 v_dim, v_dim_padded;
    LK_PARAMS_U32 pos, seq, table, max_blocks;            /* batch buffer */
    LK_PARAMS_U32 n_dims, interleaved, cs, cs_stride, op; /* of the rope in front, as in rope */
};

/* attention: tiles of the batch buffer: {first token, tokens, sequence, position of the last token
 * that the batch has of it} */
struct lk_vk_attn_push {
    LK_PARAMS_U32 n_head, n_kv_head;
    LK_PARAMS_U32 head_dim, dim; /* of queries and keys; of attn_merge: of values */
    LK_PARAMS_U32 v_dim;         /* of values */
    LK_PARAMS_U32 window, score_in, score_cap;
    LK_PARAMS_U32 head_tiles; /* tiles of heads of one KV head */
    LK_PARAMS_U32 pos, seq, table, max_blocks, tiles;
    LK_PARAMS_U32 n_tokens;
    LK_PARAMS_U32 max_splits; /* partial results a row can have */
    LK_PARAMS_U32 part_l;     /* word offset of {n, l} pairs in the partial buffer */
    LK_PARAMS_U32 ahead;      /* keys behind a token that take part, within the batch */
    LK_PARAMS_U32 op;
    LK_PARAMS_U32 x_d, x_s; /* of outputs that are activations: see quantize */
};

/* attention in decode, see attn_decode. Vectors are word offsets in the block of vectors, or
 * LK_VK_NO_VECTOR; op indices are halves of a word, the first named in the lower one. */
#define LK_VK_NO_VECTOR 0xffffffffu
#define LK_VK_MAX_OP    65535
struct lk_vk_attn_decode_push {
    LK_PARAMS_U32 heads; /* n_head + 65536 n_kv_head */
    LK_PARAMS_U32 head_dim, window, score_in, score_cap;
    LK_PARAMS_U32 tiles;                           /* head_tiles + 65536 words from q to q */
    LK_PARAMS_U32 k_at, v_at;                      /* words, in the piece that begins with q */
    LK_PARAMS_U32 pos, seq, table, max_blocks, cs; /* batch buffer */
    LK_PARAMS_U32 counters;                        /* batch buffer: workgroups done, by tile */
    LK_PARAMS_U32 part_l;                          /* as in attention */
    LK_PARAMS_U32 n_dims;                          /* turned; + 65536: interleaved; 0: none */
    LK_PARAMS_U32 q_bias, k_bias, v_bias, q_norm, k_norm, v_norm;
    LK_PARAMS_U32 sinks;                      /* of heads, or LK_VK_NO_VECTOR */
    LK_PARAMS_U32 q_eps, k_eps, v_eps, inv_n; /* bits */
    LK_PARAMS_U32 op_bias_qk, op_bias_v_norm_q, op_norm_k_rope_q, op_rope_k_attn, op_norm_v;
};

/* route: n scores -> n_used experts and their weights, both as f32 */
#define LK_VK_MAX_EXPERTS      512 /* = LK_MAX_EXPERTS */
#define LK_VK_MAX_EXPERTS_USED 64
struct lk_vk_route_push {
    LK_PARAMS_U32 n_rows, n, n_used;
    LK_PARAMS_U32 n_groups, n_groups_used;
    LK_PARAMS_U32 gate;   /* enum lk_gate */
    LK_PARAMS_U32 vector; /* 1: scores of choice have a bias, 2: experts have factors; 0: neither */
    LK_PARAMS_U32 normalize;
    LK_PARAMS_U32 scale; /* bits */
    LK_PARAMS_U32 op;
};

/* sort: puts routed rows in the order of their experts, and cuts those of each expert into tiles.
 * Words: 0 how many tiles; from 4 on {expert, first, rows, 0} of each; from `at` on the rows, of
 * which `first` counts. */
#define LK_VK_SORT_TILES 4
struct lk_vk_sort_push {
    LK_PARAMS_U32 n_rows, n_used, n_experts;
    LK_PARAMS_U32 cols; /* rows of a tile */
    LK_PARAMS_U32 at;
};

/* experts: the vector of its expert added to each row, or the rows of a token combined */
#define LK_VK_EXPERTS_BIAS    0
#define LK_VK_EXPERTS_COMBINE 1
#define LK_VK_EXPERTS_ADD     2 /* combined, and a residual added */
#define LK_VK_EXPERTS_SCALE   3
struct lk_vk_experts_push {
    LK_PARAMS_U32 n, width, n_used, op, op_next;
};

/* conv, delta, ssm: sequences of the batch buffer: {first token, tokens, slot, 0} */
#define LK_VK_CONV_OUTPUTS 1
#define LK_VK_CONV_KEEP    2
#define LK_VK_CONV_BIAS    4 /* a row of weights behind the taps */
struct lk_vk_conv_push {
    LK_PARAMS_U32 n_rows, width, taps;
    LK_PARAMS_U32 seq, seqs, n_seqs; /* batch buffer */
    LK_PARAMS_U32 op;
};
#define LK_VK_DELTA_CHAINS  8 /* = LK_DELTA_CHAINS */
#define LK_VK_DELTA_COLUMNS 16
#define LK_VK_MAX_DELTA_DIM 256
struct lk_vk_delta_push {
    LK_PARAMS_U32 n_rows, n_head, n_k_head, v_dim;
    LK_PARAMS_U32 each;         /* heads side by side that share one of k; 0: they do in turns */
    LK_PARAMS_U32 width;        /* of a row of q, k and v */
    LK_PARAMS_U32 seqs, n_seqs; /* batch buffer */
    LK_PARAMS_U32 scale;        /* bits */
    LK_PARAMS_U32 op;
};
struct lk_vk_ssm_push {
    LK_PARAMS_U32 n_rows, n_head, n_group, dim;
    LK_PARAMS_U32 width;        /* of a row of x, B and C */
    LK_PARAMS_U32 seqs, n_seqs; /* batch buffer */
    LK_PARAMS_U32 op;
};

/* l2_norm: a workgroup copies so many of the elements behind the groups */
#define LK_VK_COPIED 512
struct lk_vk_l2_push {
    LK_PARAMS_U32 n_rows, width, group, n_groups;
    LK_PARAMS_U32 eps; /* bits */
    LK_PARAMS_U32 op;
};

/* delta_gates */
struct lk_vk_gates_push {
    LK_PARAMS_U32 n_rows, n_head, op, op_bias;
};

/* gather: out[i] = in[outputs[i]] */
struct lk_vk_gather_push {
    LK_PARAMS_U32 n_rows, width, outputs;
};

/* elementwise */
#define LK_VK_ELT_ADDS 2
struct lk_vk_elt_push {
    LK_PARAMS_U32 n, width, cap_in, cap_out;
    LK_PARAMS_U32 op, op_add[LK_VK_ELT_ADDS]; /* of residuals that are added to the result */
};

/* stream: n uvec4s to read */
struct lk_vk_stream_push {
    LK_PARAMS_U32 n;
};

/* repack and probe kernels have their own */
struct lk_vk_probe_push {
    LK_PARAMS_U32 item, n;
};

#ifndef LK_GLSL
_Static_assert(sizeof(struct lk_vk_embed_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_norm_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_quantize_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_matmul_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_rope_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_kv_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_attn_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_attn_decode_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_route_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_sort_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_experts_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_conv_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_delta_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_ssm_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_l2_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_gates_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_gather_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_elt_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_stream_push) <= LK_VK_PUSH_BYTES, "push constants");
_Static_assert(sizeof(struct lk_vk_probe_push) <= LK_VK_PUSH_BYTES, "push constants");
#endif

#endif
