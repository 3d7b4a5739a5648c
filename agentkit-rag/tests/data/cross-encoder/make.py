"""Makes a tiny cross-encoder with random weights and what a plain numpy BERT computes with it.

Needs numpy, safetensors and tokenizers. Run in this folder: python make.py
"""

import json
import math

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HIDDEN, LAYERS, HEADS, WIDE, POSITIONS = 32, 2, 4, 64, 48
WORDS = "[PAD] [UNK] [CLS] [SEP] how hot is green tea the best at 80 degrees change oil engine once a year kettle . ? ##s".split()

rng = np.random.default_rng(7)


def normal(*shape):
    return (rng.standard_normal(shape) * 0.2).astype(np.float32)


def weights():
    w = {
        "embeddings.word_embeddings.weight": normal(len(WORDS), HIDDEN),
        "embeddings.position_embeddings.weight": normal(POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": normal(2, HIDDEN),
        "pooler.dense.weight": normal(HIDDEN, HIDDEN),
        "pooler.dense.bias": normal(HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for n in range(LAYERS):
        p = f"encoder.layer.{n}."
        for part in ("query", "key", "value"):
            w[p + f"attention.self.{part}.weight"] = normal(HIDDEN, HIDDEN)
            w[p + f"attention.self.{part}.bias"] = normal(HIDDEN)
        for part, (rows, columns) in {
            "attention.output.dense": (HIDDEN, HIDDEN),
            "intermediate.dense": (WIDE, HIDDEN),
            "output.dense": (HIDDEN, WIDE),
        }.items():
            w[p + part + ".weight"], w[p + part + ".bias"] = normal(rows, columns), normal(rows)
        norms += [p + "attention.output.LayerNorm", p + "output.LayerNorm"]
    for name in norms:
        w[name + ".weight"], w[name + ".bias"] = 1 + normal(HIDDEN), normal(HIDDEN)
    w = {"bert." + name: value for name, value in w.items()}
    return w | {"classifier.weight": normal(1, HIDDEN), "classifier.bias": normal(1)}


def forward(w, ids, types):
    def norm(x, name):
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-12) * w[name + ".weight"] + w[name + ".bias"]

    def linear(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    e = "bert.embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][: len(ids)]
    x = norm(x + w[e + "token_type_embeddings.weight"][types], e + "LayerNorm")
    for n in range(LAYERS):
        p = f"bert.encoder.layer.{n}."
        q, k, v = (linear(x, p + "attention.self." + part) for part in ("query", "key", "value"))
        split = lambda y: y.reshape(len(ids), HEADS, -1).transpose(1, 0, 2)
        scores = split(q) @ split(k).transpose(0, 2, 1) / math.sqrt(HIDDEN // HEADS)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ split(v)
        mixed = mixed.transpose(1, 0, 2).reshape(len(ids), HIDDEN)
        x = norm(x + linear(mixed, p + "attention.output.dense"), p + "attention.output.LayerNorm")
        wide = linear(x, p + "intermediate.dense")
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = norm(x + linear(wide, p + "output.dense"), p + "output.LayerNorm")
    return x


def tokenizer():
    t = Tokenizer(models.WordPiece({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    return t


def main():
    w, t = weights(), tokenizer()
    save_file(w, "model.safetensors")
    t.save("tokenizer.json")
    config = {
        "architectures": ["BertForSequenceClassification"], "model_type": "bert", "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": WIDE, "hidden_act": "gelu",
        "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "vocab_size": len(WORDS), "layer_norm_eps": 1e-12,
    }
    json.dump(config, open("config.json", "w"), indent=1)
    t.enable_truncation(POSITIONS, strategy="longest_first")
    wide = {name: value.astype(np.float64) for name, value in w.items()}
    cases = []
    for query, passage in [
        ("how hot is green tea?", "Green tea is best at 80 degrees."),
        ("how hot is green tea?", "Change the oil of the engine once a year."),
        ("", "tea"),
        ("tea", ""),
        ("the kettle", "degrees " * 100),
        ("oil " * 100, "the engine " * 100),
    ]:
        pair = t.encode(query, passage)
        states = forward(wide, pair.ids, pair.type_ids)
        pooled = np.tanh(states[0] @ wide["bert.pooler.dense.weight"].T + wide["bert.pooler.dense.bias"])
        score = pooled @ wide["classifier.weight"].T + wide["classifier.bias"]
        one, other = (t.encode(text) for text in (query, passage))
        cases.append({"query": query, "passage": passage, "score": float(score[0]),
                      "max_sim": max_sim(wide, one, other)})
    json.dump(cases, open("expected.json", "w"), indent=1)


def max_sim(w, query, passage):
    def inner(encoded):
        states = forward(w, encoded.ids, [0] * len(encoded.ids))[1:-1]
        return states / np.linalg.norm(states, axis=-1, keepdims=True)

    q, p = inner(query), inner(passage)
    return float((q @ p.T).max(-1).mean()) if len(q) and len(p) else 0.0


main()
