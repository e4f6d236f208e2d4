/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep: runs GGUF language models with the same bits on every backend.
 *
 * The whole public interface. A program that answers a prompt:
 *
 *     lk_error err; lk_model *m; lk_tokenizer *t; lk_engine *e; lk_session *s;
 *     int32_t ids[512]; size_t n; char text[256]; size_t len;
 *     if (lk_model_open("model.gguf", &m, &err)) die(err.message);
 *     if (lk_tokenizer_open(m, &t, &err)) die(err.message);
 *     if (lk_engine_open(m, NULL, &e, &err)) die(err.message);
 *     if (lk_session_open(e, &s, &err)) die(err.message);
 *     if (lk_tokenize(t, prompt, strlen(prompt), LK_TOKENIZE_BOS, ids, 512, &n, &err)) die(..);
 *     while (n < 512) {
 *         if (lk_session_sync(s, ids, n, &err)) die(err.message);
 *         ids[n] = lk_argmax(lk_session_logits(s), lk_engine_n_vocab(e));
 *         if (lk_token_is_eog(t, ids[n])) break;
 *         lk_token_bytes(t, ids[n++], text, sizeof text, &len); fwrite(text, 1, len, stdout);
 *     }
 *
 * What dialogues become and what answers are made of is lockstep_text.h, which this header
 * includes. Checking a model on this machine and measuring speed is lockstep_check.h; many requests
 * at once are lockstep_serve.h.
 *
 * Conventions. Every function that can fail returns an lk_status and fills `err` (which may be
 * NULL) with one line that names the file, key, tensor or option, what was found and what was
 * expected; what it would have made (`*out`) is NULL then. `lk_x_close(&x)` frees, sets NULL and
 * takes NULL, for &x too. Pointers returned by accessors belong to the object they came from. Sizes
 * are in bytes unless a name says otherwise; token counts are size_t, token ids int32_t. Text is
 * UTF-8 bytes with a length, never needing a final 0. Structs that begin with `size` are made by
 * their default function; the library takes those of programs that were built with an older header,
 * whose struct was shorter.
 *
 * Threads. An lk_model, lk_tokenizer and lk_engine may be shared by threads; an lk_session
 * belongs to one thread at a time. There is no global state. A callback (log, progress, rows) must
 * not call functions of the engine, or of a session of the engine, that it was called from: a lock
 * is held. Models, tokenizers and samplers may be used in it. A child made by fork() may exit or
 * exec; it must not use engines and sessions of its parent, whose threads and devices it lacks, but
 * may open its own.
 */
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && defined(LK_BUILDING)
#define LK_API __attribute__((visibility("default")))
#else
#define LK_API
#endif

#define LK_VERSION_MAJOR 0
#define LK_VERSION_MINOR 1
#define LK_VERSION_PATCH 0
#define LK_VERSION       "0.1.0"

/* Raised whenever any logit of any model may change; saved sessions carry it. */
#define LK_NUMERICS_VERSION 2

/* ---- status ------------------------------------------------------------------------------ */

typedef enum lk_status {
    LK_OK = 0,
    LK_E_INVALID,     /* an argument or option is out of its domain */
    LK_E_IO,          /* a file could not be opened, read or written */
    LK_E_FORMAT,      /* a file's content is broken */
    LK_E_UNSUPPORTED, /* well formed, but not something lockstep runs */
    LK_E_NOMEM,       /* an allocation failed, on the host or on a device */
    LK_E_DEVICE,      /* a backend or device could not be opened or used */
    LK_E_DEVICE_LOST, /* a device was lost in mid-work; no token of a session is lost with it */
    LK_E_RANGE,     /* a value left the numeric range of the contract (docs/NUMERICS.md, rule 1) */
    LK_E_FULL,      /* the context or the KV cache is full */
    LK_E_CANCELLED, /* a progress callback said stop */
    LK_E_INTERNAL   /* a bug in lockstep */
} lk_status;

typedef struct lk_error {
    lk_status status;
    char message[1024]; /* one line, UTF-8, 0-terminated, no final newline */
} lk_error;

LK_API const char *lk_status_name(lk_status status); /* "ok", "invalid argument", ...; static */
LK_API const char *lk_version(void);                 /* "0.1.0 (COMMIT), numerics 2"; static */

typedef enum lk_log_level { LK_LOG_ERROR, LK_LOG_WARN, LK_LOG_INFO, LK_LOG_DEBUG } lk_log_level;

/* One line of log without its newline. May be called from any thread of the engine. */
typedef void (*lk_log_fn)(void *user, lk_log_level level, const char *line);

/* Progress of a long step, done of total units. Return false to cancel: LK_E_CANCELLED. */
typedef bool (*lk_progress_fn)(void *user, const char *what, uint64_t done, uint64_t total);

/* ---- output: a file that is written whole or not at all ------------------------------------- */

typedef struct lk_output lk_output;

enum { LK_OUTPUT_PRIVATE = 1 }; /* readable by the user alone (mode 0600), whatever the umask */

/* Opens what is to be at `path` after lk_output_commit; until then a file that is there stays as it
 * is, and if the process dies it stays so. A symbolic link is followed and stays; a pipe, terminal
 * or other character device is written through; folders, sockets and disks are refused, as is a
 * path that can't be written (LK_E_IO, with the system's reason). A named pipe must have a reader
 * within 2 seconds. */
LK_API lk_status lk_output_open(const char *path, unsigned flags, lk_output **out, lk_error *err);
/* After a failure all later writes fail, and so does the commit. (A program that may be run under
 * a limit of file size ignores SIGXFSZ, to get the error instead of the signal.) */
LK_API lk_status lk_output_write(lk_output *output, const void *data, size_t n_bytes,
                                 lk_error *err);
LK_API lk_status lk_output_commit(lk_output **output, lk_error *err); /* frees it either way */
LK_API void lk_output_close(lk_output **output); /* leaves what was there before */

/* ---- model: a GGUF file, mapped and checked ------------------------------------------------ */

typedef struct lk_model lk_model;

/* Maps the file (and the other parts of a split file) and checks every length, offset and type
 * in it. A vocabulary-only file opens too. Cost: O(metadata); tensor data is not read. The file
 * must stay as it is while the model is open (replace it by renaming another over it): bytes that
 * are changed in place change results, and to read past a new, shorter end raises SIGBUS. */
LK_API lk_status lk_model_open(const char *path, lk_model **out, lk_error *err);
LK_API void lk_model_close(lk_model **model);

typedef struct lk_meta {
    const char *key;
    size_t key_len;
    const char *type; /* "u32", "string", "array of f32 [49152]", ...; 0-terminated */
    char value[160];  /* a printable rendering, shortened with "..." where needed */
} lk_meta;

typedef struct lk_tensor_info {
    const char *name;
    size_t name_len;
    const char *type; /* "Q4_K", ... or "type 31" when unknown */
    bool supported;   /* a type this build can run */
    int n_dims;
    uint64_t dims[4]; /* GGUF order: dims[0] is the contiguous one */
    uint64_t n_bytes;
    uint64_t file_offset; /* absolute, in its part */
    int part;             /* 0 for an unsplit file */
} lk_tensor_info;

LK_API const char *lk_model_path(const lk_model *model);
LK_API const char *lk_model_arch(const lk_model *model); /* general.architecture or "" */
LK_API const char *lk_model_name(const lk_model *model); /* general.name or "" */
LK_API uint32_t lk_model_gguf_version(const lk_model *model);
LK_API uint64_t lk_model_file_bytes(const lk_model *model); /* of all parts */
LK_API uint64_t lk_model_n_params(const lk_model *model);   /* tensor elements */
LK_API size_t lk_model_n_meta(const lk_model *model);
LK_API void lk_model_meta(const lk_model *model, size_t i, lk_meta *out);
/* The bytes of a key that is one string; NULL: it is not there, or something else. */
LK_API const char *lk_model_text(const lk_model *model, const char *key, size_t *len);
LK_API size_t lk_model_n_tensors(const lk_model *model);
LK_API void lk_model_tensor(const lk_model *model, size_t i, lk_tensor_info *out);
/* The context length the model was trained for; 0 when the file does not say. */
LK_API uint32_t lk_model_n_ctx_train(const lk_model *model);
/* Whether an engine could run it; LK_E_UNSUPPORTED or LK_E_FORMAT with the reason if not. */
LK_API lk_status lk_model_check(const lk_model *model, lk_error *err);
/* Whether tensor i has a meaning that no logit depends on: a block behind the last layer, which
 * predicts further tokens, or a scale of activations in 4 bits ("NAME.input_scale"). false too
 * where the model does not run. */
LK_API bool lk_model_tensor_unused(const lk_model *model, size_t i);
/* SHA-256 over header, tensor directory, file size and numerics version. It tells files of another
 * form, vocabulary or name apart, not two checkpoints of one training run: lk_model_digest does. A
 * saved session is bound to both: it goes into a model of equal header and weights, wherever the
 * file lies. */
LK_API void lk_model_fingerprint(const lk_model *model, uint8_t out[32]);
/* SHA-256 of the weights: of "lockstep weights 1" (without a 0) and then, for each tensor in rising
 * order of the bytes of its name, the name's length (u64), the name, the type (u32, as in the
 * file), dims[0] to dims[3] (u64, 1 beyond n_dims) and the SHA-256 of its n_bytes of data. Numbers
 * are little-endian. So the same weights have one digest under any path, split or not, whatever
 * their order in the file, its alignment and its metadata.
 *
 * Cost: all tensor data is read once in the life of a model, by as many threads as there are CPUs
 * that we may use, a tensor at a time: about 1.5 GB/s for each thread where the CPU has
 * instructions for SHA-256, 0.3 GB/s where it has none, or what the disk gives; later calls only
 * copy. Saving and loading a session and lk_check ask for it and pass its errors on; nothing else
 * in the library does.
 *
 * cache_dir (may be NULL; made where it is missing): keeps the digest, in a small file, for later
 * models of the same path, size, inode and times of change. A kept one that is damaged or of a file
 * that was touched since is computed again; one of a file that was changed less than two seconds
 * ago is not kept. Where nothing can be kept it is computed each time.
 *
 * Any thread may call it at any time; those who come while it is computed wait for it. LK_E_IO when
 * the file is seen to have been changed in place since the model was opened: its weights are those
 * of neither file. (A change by a program that maps the file and writes to memory may stay unseen.)
 * LK_E_UNSUPPORTED for a tensor of a type whose size is not known. */
LK_API lk_status lk_model_digest(const lk_model *model, const char *cache_dir, uint8_t out[32],
                                 lk_error *err);

/* ---- tokenizer ------------------------------------------------------------------------------ */

typedef struct lk_tokenizer lk_tokenizer;

enum {
    LK_TOKENIZE_BOS = 1,   /* add BOS where the model's metadata asks for it and the text, unless it
                              is plain, does not begin with it */
    LK_TOKENIZE_PLAIN = 2, /* text of control tokens is ordinary text */
    LK_TOKENIZE_EOS = 4 /* add EOS where the metadata asks for it: not for text to be continued */
};

/* Reads the vocabulary of the model. The model must outlive the tokenizer. */
LK_API lk_status lk_tokenizer_open(const lk_model *model, lk_tokenizer **out, lk_error *err);
LK_API void lk_tokenizer_close(lk_tokenizer **tokenizer);

LK_API size_t lk_tokenizer_n_vocab(const lk_tokenizer *t);
/* -1 when the vocabulary has none. */
LK_API int32_t lk_token_bos(const lk_tokenizer *t);
LK_API int32_t lk_token_eos(const lk_tokenizer *t);
LK_API bool lk_tokenizer_adds_bos(const lk_tokenizer *t);
/* What the file has wrong and how it was taken instead, a line each, without a newline: equal
 * texts of two tokens, ids that no token has, marks of a dialogue that are no control tokens. */
LK_API size_t lk_tokenizer_n_warnings(const lk_tokenizer *t);
LK_API const char *lk_tokenizer_warning(const lk_tokenizer *t, size_t i);
LK_API bool lk_token_is_eog(const lk_tokenizer *t, int32_t id);     /* ends generation */
LK_API bool lk_token_is_control(const lk_tokenizer *t, int32_t id); /* not printed */

/* Bytes to ids. `ids` may be NULL with cap 0 to ask for the count (LK_OK). `*n` is the full count
 * even when it is larger than cap (then LK_E_FULL and ids[0..cap) are valid). Any bytes are taken;
 * a byte for which a byte-level vocabulary has no token is left out. Memory and time are linear in
 * len (times its logarithm where one word is the whole text). */
LK_API lk_status lk_tokenize(const lk_tokenizer *t, const char *text, size_t len, unsigned flags,
                             int32_t *ids, size_t cap, size_t *n, lk_error *err);
/* The exact bytes of one token (control tokens: their text). May be part of a UTF-8 sequence. */
LK_API lk_status lk_token_bytes(const lk_tokenizer *t, int32_t id, char *buf, size_t cap,
                                size_t *len);

/* A decoder holds back incomplete UTF-8 so that what it returns never breaks a character; bytes
 * that can't become valid are passed on as they are, at the latest when `flush` is called. A
 * zeroed one is at the start of a text. */
typedef struct lk_decoder {
    unsigned char held[4];
    unsigned n_held;
    bool started; /* the first token of an SPM text loses its space prefix */
} lk_decoder;
/* Appends the printable bytes of token `id` to buf; control tokens give nothing unless
 * `special`. cap must be >= 4 + the token's length (lk_tokenizer_max_bytes + 4 always does). */
LK_API lk_status lk_decode(const lk_tokenizer *t, lk_decoder *d, int32_t id, bool special,
                           char *buf, size_t cap, size_t *len);
LK_API size_t lk_decode_flush(lk_decoder *d, char *buf, size_t cap);
LK_API size_t lk_tokenizer_max_bytes(const lk_tokenizer *t);

typedef struct lk_chat_message {
    const char *role; /* "system", "user", "assistant", ... */
    const char *text;
    size_t len;
} lk_chat_message;

/* ---- engine: a model ready to run on one or more backends ------------------------------------ */

typedef struct lk_engine lk_engine;
typedef struct lk_session lk_session;

#define LK_GPU_LAYERS_AUTO  (-1)
#define LK_GPU_LAYERS_ALL   (-2)
#define LK_CPU_EXPERTS_AUTO (-1)

typedef struct lk_engine_options {
    size_t size;         /* sizeof(lk_engine_options): set by the default function */
    const char *backend; /* "auto", "vulkan", "cpu", "scalar" or "ref" */
    /* Vulkan devices, separated by commas: numbers, names or parts of names, as lk_devices lists
     * them; NULL: the best GPU. With "auto" too one that is not there is an error, LK_E_DEVICE.
     * Layers are shared out among several by the speed and room of their memory, in this order. */
    const char *device;
    /* Layers on those devices: LK_GPU_LAYERS_AUTO (as many as they hold), _ALL or a number, the
     * last ones; the CPU runs those before. Only for vulkan and auto. */
    int gpu_layers;
    uint32_t n_ctx;      /* tokens a session can hold; 0: min(the model's, 4096). Where a file has
                            two sets of rotary factors (Phi 3.5 and 4 mini), one beyond the original
                            context takes the long set: other logits, from the first token on */
    uint32_t n_sessions; /* sessions that can be full at once (sizes the KV cache); default 1 */
    uint32_t n_batch;    /* tokens handed to a backend at once, or in four pieces where a CPU and
                            devices share the layers; several devices alone take four times as many
                            in a step; 0 (the default): 512, and 2048 on a graphics card that has
                            all layers and half of its memory left */
    int threads;         /* CPU threads for decode; 0: physical cores allowed to us. Unless pinned
                            never more than the CPUs allowed to us: they would be slower */
    int threads_batch;   /* CPU threads for prefill; 0: as threads */
    bool pin; /* exactly so many CPU threads, pinned to cores as long as there are some */
    const char
        *cpu_level;         /* "auto", "generic", "avx2", "avx-vnni", "avx512", "amx", "neon",
                               "dotprod", "i8mm": the CPU kernels used; one the CPU lacks is an error */
    bool fuse;              /* let backends fuse neighbouring ops (same bits); default true */
    const char *vk_disable; /* comma-separated Vulkan features not to use; NULL: none */
    const char *cache_dir;  /* pipelines, probe verdicts, digests, and packed weights where they are
                               asked for (mmap_pack); NULL: none are kept */
    lk_log_fn log;
    lk_progress_fn progress; /* while loading */
    void *user;              /* passed to log and progress */
    /* Which layers run where, instead of backend, device, gpu_layers and cpu_experts, which must
     * have their defaults: parts separated by commas, "BACKEND:LAYERS" or "BACKEND DEVICE:LAYERS";
     * LAYERS is a number or FIRST-LAST, both counted in, from 0, without a gap up to the model's
     * last. DEVICE is one, as above. Then, if any, "ffn:LAYERS": layers whose feed-forward runs on
     * the CPU, wherever their attention does. "cpu:0-3,vulkan 0:4-11,vulkan 1:12-15,ffn:4-7". NULL:
     * lockstep decides. */
    const char *placement;
    /* What the cache keeps of a key and a value: NULL or "k12v8" (12 and 8 bits a dimension), or
     * "i8": 8 bits each, less memory for less accuracy, and other logits. Every backend gives the
     * same bits with it; a saved session goes into an engine with the
     * same value. */
    const char *kv;
    /* Tokens that the cache holds, those of all sessions together, in blocks of 64 of which each
     * session has its own or shares them with forks; may be less than n_ctx. 0: n_sessions full
     * contexts. (n_sessions still says how many recurrent states there are.) */
    uint32_t cache_tokens;
    /* Rows are the hidden rows after the last norm, of lk_engine_n_embd floats, and not logits: for
     * lk_embed. Nothing is generated on such an engine. */
    bool embeddings;
    /* Layers whose experts stay on the CPU while the rest of them runs on a device, the first of
     * those that have experts: a number, or LK_CPU_EXPERTS_AUTO: as many as it takes for the rest
     * to fit. A number that no layer can follow is told in the log and ignored: the model has no
     * experts, or its layers are nothing but experts (nemotron_h_moe). */
    int cpu_experts;
    /* Most bytes of host memory for checkpoints of recurrent states (models such as Qwen 3.5): what
     * they held at ends of blocks, so that a timeline that is cut, or shares its beginning with
     * another, is not evaluated from its beginning. 0: none are taken. Default 2 GiB; memory is
     * taken as they are made, and other models take none. */
    uint64_t checkpoint_bytes;
    /* The CPU's weights, which it reads in a packed form of about the size of the file, are mapped
     * from files below cache_dir/packed instead of being packed into memory: pages that are not
     * used (of experts that no token goes to) take no memory, the system may drop any without swap,
     * and engines on the same model share them. Files that are missing are made while the engine
     * opens, which takes as many bytes on disk as weights are run on the CPU, and later engines
     * open without packing. They are bound to the model's files by path, device, inode, size and
     * times; others, broken and outdated ones are made anew. Where they can't be made (a folder
     * that is read-only, a full disk) weights are packed into memory, and a line of the log at
     * LK_LOG_WARN says why. They may be deleted at any time; while an engine is open they must not
     * be cut short or written to, as the model file itself. LK_E_INVALID without cache_dir. Default
     * false. */
    bool mmap_pack;
} lk_engine_options;

LK_API lk_engine_options lk_engine_options_default(void);

/* Binds the weights and opens the backends. options may be NULL. The model must outlive the
 * engine. "auto" takes a Vulkan GPU (discrete, then integrated), else the CPU, and logs why. */
LK_API lk_status lk_engine_open(const lk_model *model, const lk_engine_options *options,
                                lk_engine **out, lk_error *err);
/* An engine whose sessions are still open is freed when the last of them is closed. */
LK_API void lk_engine_close(lk_engine **engine);

LK_API size_t lk_engine_n_vocab(const lk_engine *engine); /* floats in a logits row */
LK_API size_t lk_engine_n_embd(const lk_engine *engine);  /* floats in a hidden row */
LK_API uint32_t lk_engine_n_ctx(const lk_engine *engine);
LK_API uint32_t lk_engine_n_layers(const lk_engine *engine);
LK_API const char *lk_engine_describe(const lk_engine *engine); /* "cpu avx512, 8 threads", ... */

/* ---- session: one token timeline, its states and its logits ---------------------------------- */

LK_API lk_status lk_session_open(lk_engine *engine, lk_session **out, lk_error *err);
LK_API void lk_session_close(lk_session **session);

/* Makes the session's timeline equal tokens[0..n): what it already holds of that prefix is
 * reused, the rest is evaluated, anything beyond is dropped. After it, lk_session_logits gives the
 * row of the last token. n >= 1; n > the context: LK_E_FULL, and nothing changed. On any error
 * the session keeps a valid prefix and can be synced again. */
LK_API lk_status lk_session_sync(lk_session *session, const int32_t *tokens, size_t n,
                                 lk_error *err);
/* The same, and delivers the logits of every newly evaluated position in order: rows of n_vocab
 * floats, valid during the call. Returning false cancels. Positions already held are evaluated
 * again when `from` is less than the held length: rows come for positions from..n-1. */
typedef bool (*lk_logits_fn)(void *user, size_t pos, const float *row);
LK_API lk_status lk_session_sync_rows(lk_session *session, const int32_t *tokens, size_t n,
                                      size_t from, lk_logits_fn rows, void *user, lk_error *err);
/* Row of the last token after a sync or step, n_vocab floats; NULL before the first. */
LK_API const float *lk_session_logits(const lk_session *session);
LK_API size_t lk_session_n_tokens(const lk_session *session);
LK_API const int32_t *lk_session_tokens(const lk_session *session);

/* Many sessions at once. An item makes one timeline longer, by one token or by many; all items of a
 * call share the engine's batches, prompts and single tokens together. A row never depends on who
 * shares its batch. */
typedef enum lk_rows_wanted {
    LK_ROWS_LAST, /* the session keeps the row of the last token: lk_session_logits */
    LK_ROWS_NONE, /* no row: more tokens follow in a later call */
    LK_ROWS_ALL   /* the row of every token goes to on_row in order; the session keeps the last */
} lk_rows_wanted;
typedef struct lk_item {
    lk_session *session;   /* open on the engine; listed once */
    const int32_t *tokens; /* appended to the timeline */
    size_t n_tokens;       /* at least 1 */
    lk_rows_wanted rows;
    lk_logits_fn on_row; /* for LK_ROWS_ALL; returning false cancels the item */
    void *user;
    lk_status status; /* filled: of this item */
    lk_error error;   /* filled where status is not LK_OK */
} lk_item;
/* Returns LK_OK when every item's status is, else that of the first that failed; the others have
 * run. An item that fails keeps those of its tokens that were evaluated (lk_session_n_tokens).
 * LK_E_INVALID, and nothing has run, when an item makes no sense. */
LK_API lk_status lk_engine_run(lk_engine *engine, lk_item *items, size_t n, lk_error *err);
/* The same by one token each: session i takes tokens[i] and keeps its row. */
LK_API lk_status lk_engine_step(lk_engine *engine, lk_session *const *sessions,
                                const int32_t *tokens, size_t n, lk_error *err);

/* Keeps the first n tokens (n <= n_tokens). Logits become NULL unless nothing was dropped. With
 * recurrent states the tokens since the last checkpoint before n are evaluated again (options.
 * checkpoint_bytes): an error of that leaves the session with fewer. */
LK_API lk_status lk_session_truncate(lk_session *session, size_t n, lk_error *err);
/* A second session with the same timeline; full KV blocks are shared, not copied. */
LK_API lk_status lk_session_fork(lk_session *session, lk_session **out, lk_error *err);
/* Bytes of the program's own that go with the timeline, such as the dialogue that it is of: saved
 * and loaded with it, copied by a fork, left as they are by all else. The library does not look at
 * them. Copies n_bytes of them in place of what was there; 0: there are none, as at first. After a
 * failure (LK_E_NOMEM) those of before are there. */
LK_API lk_status lk_session_set_data(lk_session *session, const void *data, size_t n_bytes,
                                     lk_error *err);
/* They belong to the session, until they are set or loaded anew; NULL when there are none. */
LK_API const void *lk_session_data(const lk_session *session, size_t *n_bytes);
/* What a file with a session begins with, in every version. */
#define LK_SESSION_MAGIC "LKSESS"
/* Saves tokens, states, logits and the program's bytes as a private lk_output: whole or not at
 * all. */
LK_API lk_status lk_session_save(lk_session *session, const char *path, lk_error *err);
/* The same into an output that is open, so that a bad path shows before the work and not after it.
 * The caller commits it. */
LK_API lk_status lk_session_save_to(lk_session *session, lk_output *output, lk_error *err);
/* Loads into an open session what was saved with the same model file and numerics version, on any
 * backend; LK_E_FORMAT otherwise, as for a file of another version of the format, and the session
 * is as before. Needs no more room than the longer of the two timelines. */
LK_API lk_status lk_session_load(lk_session *session, const char *path, lk_error *err);
/* Moves a live session to another backend ("cpu", "vulkan", "scalar") or to a placement, as
 * lk_engine_options has it; opened on first use. */
LK_API lk_status lk_session_move(lk_session *session, const char *backend, lk_error *err);
/* The name of the backend or the placement that it lives on; the text belongs to the engine. */
LK_API const char *lk_session_backend(const lk_session *session);
/* Called between backend batches of a long sync with tokens done and total; false cancels. */
LK_API void lk_session_on_progress(lk_session *session, lk_progress_fn fn, void *user);

/* ---- embeddings: a text as a point ----------------------------------------------------------- */

/* Which row stands for a text. */
typedef enum lk_pooling {
    LK_POOLING_FILE, /* as the model's key pooling_type says; without one LK_E_UNSUPPORTED */
    LK_POOLING_MEAN, /* the mean of all tokens' rows */
    LK_POOLING_FIRST,
    LK_POOLING_LAST
} lk_pooling;

/* Evaluates n >= 1 tokens on an engine that was opened with `embeddings` and writes
 * lk_engine_n_embd floats to out: the row that stands for them, divided by its length unless
 * `plain`. Tokenize with LK_TOKENIZE_BOS | LK_TOKENIZE_EOS: many models end their texts with a
 * token whose row counts. The sum and the length are computed in double, in order, with + - * /
 * alone: the same bits everywhere. One session's room is taken for as long as the call lasts. A
 * model whose tokens attend to those behind them (gemma-embedding) reads a text in one batch:
 * LK_E_INVALID where n_batch is less than n. */
LK_API lk_status lk_embed(lk_engine *engine, const int32_t *tokens, size_t n, lk_pooling pooling,
                          bool plain, float *out, lk_error *err);

/* ---- sampling: pure functions on a row of logits -------------------------------------------- */

typedef struct lk_sampler lk_sampler;
typedef struct lk_constraint lk_constraint; /* lockstep_text.h */

typedef struct lk_sampler_options {
    size_t size;             /* sizeof(lk_sampler_options): set by the default function */
    float temperature;       /* default 0: greedy, ties to the lowest id */
    int top_k;               /* 0: off */
    float top_p;             /* 1: off */
    float min_p;             /* 0: off */
    float repeat_penalty;    /* 1: off; logits of seen tokens divided (or multiplied if < 0) */
    float presence_penalty;  /* 0: off */
    float frequency_penalty; /* 0: off */
    int penalty_last_n;      /* tokens looked back at; default 64 */
    uint64_t seed;           /* default 0 */
    const int32_t *bias_ids; /* logit bias: ids and values, n_bias of each; copied */
    const float *bias_values;
    size_t n_bias;
} lk_sampler_options;

LK_API lk_sampler_options lk_sampler_options_default(void);
LK_API lk_status lk_sampler_open(const lk_sampler_options *options, size_t n_vocab,
                                 lk_sampler **out, lk_error *err);
LK_API void lk_sampler_close(lk_sampler **sampler);
/* Chooses the token at position `pos` of a timeline: bias, penalties over the last tokens of
 * history[0..n_history), top-k, temperature, softmax, top-p, min-p, draw. The draw depends on seed
 * and pos alone, so a restored session continues with the same text. */
LK_API int32_t lk_sample(lk_sampler *sampler, const float *logits, const int32_t *history,
                         size_t n_history, uint64_t pos);
LK_API int32_t lk_argmax(const float *logits, size_t n_vocab);

/* SHA-256 over rows of logits as little-endian f32. */
typedef struct lk_sha256 {
    uint32_t state[8];
    uint64_t n_bytes;
    uint8_t block[64];
} lk_sha256;
LK_API void lk_sha256_init(lk_sha256 *h);
LK_API void lk_sha256_bytes(lk_sha256 *h, const void *data, size_t n);
LK_API void lk_sha256_floats(lk_sha256 *h, const float *row, size_t n);
LK_API void lk_sha256_final(lk_sha256 *h, uint8_t out[32]);

/* ---- generation: a session that writes --------------------------------------------------------
 *
 *     lk_generation *g; lk_event ev;
 *     if (lk_generation_open(s, t, NULL, &g, &err)) die(err.message);
 *     if (lk_generation_prompt(g, prompt, strlen(prompt), LK_TOKENIZE_BOS, &err)) die(err.message);
 *     while (!lk_generation_finish(g)) {
 *         if (lk_generation_step(e, &g, 1, 0, &err)) die(err.message);
 *         while (lk_generation_next(g, &ev))
 *             if (ev.kind == LK_EVENT_TEXT) fwrite(ev.text, 1, ev.len, stdout);
 *     }
 *
 * Many generations of an engine take their steps together, prompts beside single tokens; what each
 * writes is what it would write alone. */

typedef struct lk_generation lk_generation;

typedef enum lk_finish {
    LK_FINISH_NONE,      /* it goes on */
    LK_FINISH_STOP,      /* a stop text was completed; it is not part of the text */
    LK_FINISH_EOG,       /* the model ended its answer */
    LK_FINISH_LENGTH,    /* max_tokens were written */
    LK_FINISH_FULL,      /* the context, or the cache, has no room for one more token */
    LK_FINISH_CANCELLED, /* lk_generation_cancel */
    LK_FINISH_FAILED     /* a step failed: the event has the error */
} lk_finish;
LK_API const char *lk_finish_name(lk_finish finish); /* "stop", "eog", "length", ...; static */

typedef struct lk_logprob {
    int32_t token;
    float logprob; /* natural logarithm, of the row as the model gave it */
} lk_logprob;
enum { LK_MAX_LOGPROBS = 64 };

typedef struct lk_generation_options {
    size_t size;                       /* set by the default function */
    const lk_sampler_options *sampler; /* copied; NULL: greedy */
    size_t max_tokens;                 /* default SIZE_MAX */
    const char *const *stop;           /* n_stop texts that end it, 0-terminated; copied */
    size_t n_stop;
    bool ignore_eog; /* tokens that end an answer are never chosen */
    bool special;    /* control tokens are part of the text */
    int logprobs; /* with each token its own and those of so many likeliest; -1 (default): none */
    const lk_constraint *constraint; /* each answer fits it, from where it is now; copied, but its
                                        grammar must live longer; NULL: anything goes */
    const int32_t
        *shown; /* n_shown control tokens that are part of the text all the same; copied */
    size_t n_shown;
} lk_generation_options;
LK_API lk_generation_options lk_generation_options_default(void);

/* What happened, in order. Pointers are valid until the next step or prompt of the generation. */
typedef enum lk_event_kind { LK_EVENT_TOKEN, LK_EVENT_TEXT, LK_EVENT_END } lk_event_kind;
typedef struct lk_event {
    lk_event_kind kind;
    /* LK_EVENT_TOKEN: chosen from lk_session_logits, and not yet evaluated. LK_EVENT_END with
     * LK_FINISH_EOG: the token that ended it, chosen likewise, which is not part of the timeline,
     * or -1 where the text fits the constraint and nothing can follow. The row that a token was
     * chosen from is there until the next step. */
    int32_t token;
    size_t pos; /* of the token in the timeline */
    lk_logprob logprob;
    const lk_logprob *top; /* the likeliest, in order */
    size_t n_top;
    /* LK_EVENT_TEXT: whole characters that no stop text can take back. */
    const char *text;
    size_t len;
    /* LK_EVENT_END */
    lk_finish finish;
    const lk_error *error; /* of LK_FINISH_FAILED and LK_FINISH_FULL, else NULL */
    const char *stop;      /* of LK_FINISH_STOP: the text that was completed; the generation's */
} lk_event;

/* A generation writes on one session, which between its prompt and its end may be moved and looked
 * at but not used otherwise. Session and tokenizer must outlive it. Options may be NULL. */
LK_API lk_status lk_generation_open(lk_session *session, const lk_tokenizer *tokenizer,
                                    const lk_generation_options *options, lk_generation **out,
                                    lk_error *err);
LK_API void lk_generation_close(lk_generation **generation);

/* Begins with these ids as the timeline, after which it writes; what the session holds of them is
 * reused, the rest is evaluated by the steps. May be called again after an end. LK_E_FULL, and
 * nothing has changed, when the context has no room for them; LK_E_INVALID without any. */
LK_API lk_status lk_generation_begin(lk_generation *g, const int32_t *ids, size_t n, lk_error *err);
/* The same with a text, tokenized with these flags. */
LK_API lk_status lk_generation_prompt(lk_generation *g, const char *text, size_t len,
                                      unsigned flags, lk_error *err);
/* In mid-answer: the timeline is ids[0..n) from now on, which may be a part of
 * lk_generation_tokens, and the answer goes on after it; its text, its stop texts and the number of
 * tokens written stay. For a context that is about to be full: a shorter prompt, and after it the
 * tokens written so far. What the session holds of the ids is reused, the rest is evaluated by the
 * next step, and the rows are those of a session of these ids alone. Counts of prompt and reused
 * grow by theirs. Errors, on which nothing has changed, as of lk_generation_begin; LK_E_INVALID
 * before a prompt and after the end too. */
LK_API lk_status lk_generation_replace(lk_generation *g, const int32_t *ids, size_t n,
                                       lk_error *err);
/* The next n tokens are these, whatever the rows say: one a step, with events as all others have
 * them, in place of earlier ones that are still to come; a constraint must take them. LK_E_INVALID
 * before a prompt, after the end and for ids beyond the vocabulary. */
LK_API lk_status lk_generation_force(lk_generation *g, const int32_t *ids, size_t n, lk_error *err);
/* One step of each of n generations of the engine that have not ended: those that write choose a
 * token, after one batch of `budget` tokens (0: no limit) in which single tokens come first and
 * prompts take what is left, in the order given. A generation that fails ends; LK_E_INVALID when
 * one is not of this engine, is listed twice or has no prompt. */
LK_API lk_status lk_generation_step(lk_engine *engine, lk_generation *const *generations, size_t n,
                                    size_t budget, lk_error *err);
/* The next event; false: there is none until the next step. */
LK_API bool lk_generation_next(lk_generation *g, lk_event *out);
/* Ends it at its next step. */
LK_API void lk_generation_cancel(lk_generation *g);

LK_API lk_finish lk_generation_finish(const lk_generation *g);
LK_API lk_session *lk_generation_session(const lk_generation *g);
/* The prompt and what was written since, the last token included; *n of them. */
LK_API const int32_t *lk_generation_tokens(const lk_generation *g, size_t *n);
typedef struct lk_generation_counts {
    size_t prompt, reused; /* tokens of prompts; of them, those that the session held */
    size_t written;
} lk_generation_counts;
LK_API lk_generation_counts lk_generation_count(const lk_generation *g);

/* ---- devices ------------------------------------------------------------------------------- */

typedef struct lk_device_info {
    char backend[16]; /* "cpu" or "vulkan" */
    char name[256];
    char driver[256];    /* driver and version; "" for the CPU */
    char type[32];       /* "discrete", "integrated", "virtual", "cpu", "other" */
    uint64_t memory;     /* bytes of device-local memory (CPU: physical memory) */
    uint64_t available;  /* bytes free by the budget extension, else memory */
    char features[1024]; /* those found and used, separated by spaces; (why there is no matrix) */
    bool usable;
    bool exact;     /* the exactness probe passed; always true for the CPU */
    bool chosen;    /* what "auto" takes */
    char note[512]; /* why not usable or not chosen; which probe item failed; why not a
                       higher CPU level */
} lk_device_info;

/* Calls `each` for every device; the CPU comes last. Probes devices (50 ms each at most, or read
 * from cache_dir of the options, which may be NULL). */
LK_API lk_status lk_devices(const lk_engine_options *options,
                            void (*each)(void *user, const lk_device_info *device), void *user,
                            lk_error *err);

/* Switches a Vulkan feature of the chosen device off from now on (NULL: none is off any more), in
 * a file in cache_dir; lk_devices says what is off. */
LK_API lk_status lk_device_disable(const lk_engine_options *options, const char *feature,
                                   lk_error *err);

#ifdef __cplusplus
}
#endif

#include "lockstep_text.h"
#endif
