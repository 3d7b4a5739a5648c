"""Learns the adapter that QueryResolver reads with, and the weights of weights.rs, from follow-ups that people wrote out.

Dialogs are JSON objects, one a line, as `eval --rewriting` reads them: title, section, and turns of history, question and
rewrite. First their words and signs are written beside them, by the code that will use what is learnt; the path is absolute:

    AGENTKIT_DIALOGS=FILE cargo test -p agentkit-rag --lib rows_to_learn_from

Then, with numpy, jax, optax, scikit-learn, safetensors and tokenizers installed,

    python fit.py --model FOLDER --learn A.rows --fit B.rows --measure C.rows --out terms.safetensors

learns the adapter from A, prints the columns of weights.rs as fitted on B, and measures both on C. No dialog may be in two
of them: the log odds of words that the adapter was learnt from are better than those of others will be.
docs/adr/0045-conversations-read-by-the-embedding-model.md says what the shipped numbers were learnt from.
"""

import argparse
import json
import random
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer

# As in classify.rs and weights.rs.
LONGEST, OF_EACH, UNREAD = 128, 32, -6.0
CLS, SEP = 101, 102
LAYERS, HEADS, WIDTH = 6, 12, 384
LINEAR = [
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
    "intermediate.dense", "output.dense",
]
# Texts are padded to one of these, so that few shapes are compiled.
LENGTHS = [48, 80, LONGEST]
BATCH_TOKENS, RANK, RATE, DROPOUT = 4096, 16, 1.5e-3, 0.1
# How many words may be wrong for each right one where a rewriter is measured.
WRONG = 0.5


class Row:
    """A question as token ids; each token may be part of one of the words that are read."""

    def __init__(self, line, tokenizer):
        row = json.loads(line)
        ids, words = [CLS], [-1]
        ids += tokenizer.encode(row["question"], add_special_tokens=False).ids + [SEP]
        words += [-1] * (len(ids) - 1)
        for text in row["texts"]:
            encoding = tokenizer.encode(text["text"], add_special_tokens=False)
            at = np.cumsum([0] + [len(letter.encode()) for letter in text["text"]])
            for token, (start, end) in zip(encoding.ids[:OF_EACH], encoding.offsets):
                inside = [word for a, b, word in text["places"] if a <= at[start] and at[end] <= b]
                ids.append(token)
                words.append(inside[0] if inside else -1)
            ids.append(SEP)
            words.append(-1)
            if len(ids) >= LONGEST:
                break
        self.ids, words = ids[:LONGEST], words[:LONGEST]
        self.read = sorted({word for word in words if word >= 0})
        number = {word: at for at, word in enumerate(self.read)}
        self.words = [number.get(word, -1) for word in words]
        self.signs = np.array([word["signs"] for word in row["words"]], np.float32)
        self.added = np.array([word["added"] for word in row["words"]], bool)
        self.topics = row["topics"]
        # From the turns alone, more than the turns have cannot be reached.
        self.wanted = row["wanted"] if row["topics"] else row["reachable"]
        self.conversation = (row["question"], *(text["text"] for text in row["texts"]))


def rows_of(path, tokenizer):
    with open(path) as lines:
        return [Row(line, tokenizer) for line in lines]


def with_words(rows):
    return [row for row in rows if row.read]


def once_each(rows, chance):
    """Each question once, a third of them with topics."""
    pairs = zip(rows[0::2], rows[1::2])
    return with_words(pair[chance.random() < 0.35] for pair in pairs)


def batches(rows, chance=None):
    order = list(range(len(rows)))
    if chance:
        chance.shuffle(order)
    by_length = {length: [] for length in LENGTHS}
    for at in order:
        by_length[next(length for length in LENGTHS if len(rows[at].ids) <= length)].append(at)
    parts = [
        (length, numbers[start:start + BATCH_TOKENS // length])
        for length, numbers in by_length.items()
        for start in range(0, len(numbers), BATCH_TOKENS // length)
    ]
    if chance:
        chance.shuffle(parts)
    for length, numbers in parts:
        size = BATCH_TOKENS // length
        ids, words = np.zeros((size, length), np.int32), np.full((size, length), -1, np.int32)
        added, known = np.zeros((size, LONGEST), np.float32), np.zeros((size, LONGEST), np.float32)
        ids[:, 0] = CLS
        for line, at in enumerate(numbers):
            row = rows[at]
            ids[line, :len(row.ids)], words[line, :len(row.words)] = row.ids, row.words
            added[line, :len(row.read)], known[line, :len(row.read)] = row.added[row.read], 1
        yield numbers, ids, words, added, known


def beginning(seed=0):
    """Of each pair of matrices one is 0, so that nothing changes before something is learnt."""
    key, learnt = jax.random.PRNGKey(seed), {}
    for layer in range(LAYERS):
        for name in LINEAR:
            wide, deep = BASE[f"encoder.layer.{layer}.{name}.weight"].shape
            key, own = jax.random.split(key)
            learnt[f"{layer}.{name}.A"] = jax.random.normal(own, (RANK, deep)) / np.sqrt(deep)
            learnt[f"{layer}.{name}.B"] = jnp.zeros((wide, RANK))
    learnt["head.weight"] = jax.random.normal(key, (WIDTH,)) * 0.02
    learnt["head.bias"] = jnp.array([-2.5])
    return learnt


def normalised(x, weight, bias):
    mean, spread = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(spread + 1e-12) * weight + bias


def dropped(x, key):
    return x if key is None else jnp.where(jax.random.bernoulli(key, 1 - DROPOUT, x.shape), x / (1 - DROPOUT), 0)


def states(base, learnt, ids, key=None):
    """BERT with the learnt matrices added."""
    rows, length = ids.shape
    keys = [None] * (2 * LAYERS) if key is None else jax.random.split(key, 2 * LAYERS)

    def linear(x, layer, name):
        own = f"{layer}.{name}"
        weight = base[f"encoder.layer.{own}.weight"] + learnt[own + ".B"] @ learnt[own + ".A"]
        flat = x.reshape(-1, x.shape[-1]) @ weight.T + base[f"encoder.layer.{own}.bias"]
        return flat.reshape(*x.shape[:-1], -1)

    def norm(x, name):
        return normalised(x, base[name + ".LayerNorm.weight"], base[name + ".LayerNorm.bias"])

    def heads(x):
        return x.reshape(rows, length, HEADS, WIDTH // HEADS).transpose(0, 2, 1, 3)

    at = "embeddings."
    x = base[at + "word_embeddings.weight"][ids] + base[at + "position_embeddings.weight"][:length]
    x = norm(x + base[at + "token_type_embeddings.weight"][0], "embeddings")
    hidden = jnp.where(ids > 0, 0, -1e9)[:, None, None, :]
    for layer in range(LAYERS):
        query, key_, value = (heads(linear(x, layer, name)) for name in LINEAR[:3])
        weights = jax.nn.softmax(query @ key_.transpose(0, 1, 3, 2) / np.sqrt(WIDTH // HEADS) + hidden, -1)
        seen = (weights @ value).transpose(0, 2, 1, 3).reshape(rows, length, WIDTH)
        seen = dropped(linear(seen, layer, LINEAR[3]), keys[2 * layer])
        x = norm(x + seen, f"encoder.layer.{layer}.attention.output")
        inner = jax.nn.gelu(linear(x, layer, LINEAR[4]), approximate=False)
        inner = dropped(linear(inner, layer, LINEAR[5]), keys[2 * layer + 1])
        x = norm(x + inner, f"encoder.layer.{layer}.output")
    return x


def log_odds(base, learnt, ids, words, key=None):
    """Of each word the highest of its tokens."""
    of_tokens = states(base, learnt, ids, key) @ learnt["head.weight"] + learnt["head.bias"]
    is_of = words[:, :, None] == jnp.arange(LONGEST)[None, None, :]
    return jnp.where(is_of, of_tokens[:, :, None], -1e4).max(1)


def loss(learnt, base, ids, words, added, known, key):
    odds = log_odds(base, learnt, ids, words, key)
    return ((jnp.logaddexp(0, odds) - added * odds) * known).sum() / known.sum()


def learn(rows, epochs, chance):
    total = epochs * sum(1 for _ in batches(rows))
    rate = optax.warmup_cosine_decay_schedule(0, RATE, total // 10, total, RATE / 20)
    by = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.99, weight_decay=0.01))
    learnt = beginning()
    state = by.init(learnt)

    @jax.jit
    def step(base, learnt, state, key, *batch):
        value, slope = jax.value_and_grad(loss)(learnt, base, *batch, key)
        update, state = by.update(slope, state, learnt)
        return optax.apply_updates(learnt, update), state, value

    key, since, recent = jax.random.PRNGKey(1), time.time(), []
    every = (batch for _ in range(epochs) for batch in batches(rows, chance))
    for done, (_, *batch) in enumerate(every, 1):
        key, own = jax.random.split(key)
        learnt, state, value = step(BASE, learnt, state, own, *batch)
        recent.append(float(value))
        if done % 50 == 0:
            print(f"{done} of {total} steps, loss {np.mean(recent[-50:]):.4f}, {time.time() - since:.0f} s", flush=True)
    return learnt


def odds_of(learnt, rows):
    """The log odds of each row's words."""
    score, odds = jax.jit(log_odds), [np.full(len(row.added), UNREAD) for row in rows]
    for numbers, ids, words, *_ in batches(rows):
        for at, own in zip(numbers, np.asarray(score(BASE, learnt, ids, words))):
            odds[at][rows[at].read] = own[:len(rows[at].read)]
    return np.concatenate(odds)


def found(scores, added, wanted):
    """The share of the words wanted that is found where WRONG words are wrong for each right one."""
    order = np.argsort(-scores, kind="stable")
    right, wrong = np.cumsum(added[order]), np.cumsum(~added[order])
    fits = np.flatnonzero(wrong <= WRONG * right)
    return right[fits[-1]] / wanted if len(fits) else 0.0


def known_of(learnt, rows):
    """What is known of each word, its log odds in front; whether it was added; and the words wanted."""
    read = with_words(rows)
    signs, added = (np.concatenate(parts) for parts in zip(*((row.signs, row.added) for row in read)))
    return np.column_stack([odds_of(learnt, read), signs]), added, sum(row.wanted for row in rows)


def regress(learnt, fitted_on, measured):
    """Prints a regression over the signs alone, and over log odds and signs for either kind of conversation."""
    for name, kinds, reads in [("signs", [False, True], 0), ("read", [False], 1), ("read with topics", [True], 1)]:
        fitting, measuring = (
            known_of(learnt, [row for row in rows if row.topics in kinds]) for rows in (fitted_on, measured)
        )
        fit = LogisticRegression(C=0.1, max_iter=3000).fit(fitting[0][:, 1 - reads:], fitting[1])
        weights = [round(float(weight), 2) for weight in fit.coef_[0]]
        base = round(float(fit.intercept_[0]), 2)
        print(f"{name}: base {base}, reader {weights[0] if reads else 0.0}, signs {weights[reads:]}")
        for what, (known, added, wanted) in [("fitted on", fitting), ("measured", measuring)]:
            print(f"  {what}: {found(base + known[:, 1 - reads:] @ weights, added, wanted):.3f} at {WRONG} wrong for each right")


def written(learnt):
    """By the names of PEFT, the matrices in half precision."""
    tensors = {"head.weight": learnt["head.weight"], "head.bias": learnt["head.bias"]}
    for layer in range(LAYERS):
        for name in LINEAR:
            for part in "AB":
                value = np.asarray(learnt[f"{layer}.{name}.{part}"]).astype(np.float16)
                tensors[f"encoder.layer.{layer}.{name}.lora_{part}.weight"] = value
    return {name: np.asarray(value) for name, value in tensors.items()}


def loaded(path):
    tensors = {name: jnp.asarray(value.astype(np.float32)) for name, value in load_file(path).items()}
    short = lambda name: name.removeprefix("encoder.layer.").replace(".lora_A.weight", ".A").replace(".lora_B.weight", ".B")
    return {short(name): value for name, value in tensors.items()}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", required=True, help="the folder of all-MiniLM-L6-v2")
    arguments.add_argument("--learn", help="rows that the adapter is learnt from; without it OUT is read and measured")
    arguments.add_argument("--fit", required=True, help="rows that the regression is fitted on")
    arguments.add_argument("--measure", required=True, help="rows on which both are measured")
    arguments.add_argument("--epochs", type=int, default=1)
    arguments.add_argument("--out", default="terms.safetensors")
    arguments = arguments.parse_args()
    tokenizer = Tokenizer.from_file(arguments.model + "/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tensors = load_file(arguments.model + "/model.safetensors")
    BASE = {name: jnp.asarray(value) for name, value in tensors.items() if value.dtype == np.float32}
    fitted_on, measured = (rows_of(path, tokenizer) for path in (arguments.fit, arguments.measure))
    if arguments.learn:
        rows = rows_of(arguments.learn, tokenizer)
        told = {row.conversation for row in with_words(fitted_on + measured)}
        if any(row.conversation in told for row in with_words(rows)):
            raise SystemExit("a dialog of --learn is in --fit or --measure as well")
        chance = random.Random(1)
        rows = once_each(rows, chance)
        print(f"learning from {len(rows)} questions", flush=True)
        save_file(written(learn(rows, arguments.epochs, chance)), arguments.out)
    regress(loaded(arguments.out), fitted_on, measured)
