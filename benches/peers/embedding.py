"""ONNX Runtime fp32 as the peer of `embedding.rs`: the same model, the same texts, the same figures.

usage: python embedding.py MODEL.onnx TOKENIZER.json [--threads N] [--seconds S]
needs: numpy onnxruntime tokenizers (MODEL.onnx comes from export_onnx.py)

Times include tokenising, as ours do. Prints one line a figure: name, median and minimum milliseconds a call,
texts per second at the median.
"""

import argparse
import statistics
import time

import numpy
import onnxruntime
from tokenizers import Tokenizer

QUERY = "what is the capital of france and its population"
SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank while the sun is setting. "
TOPICS = ["billing", "backups", "search", "login", "quotas", "exports", "tenants", "replication"]
SHORT = [f"how do i configure {topic} for my team, step {number}" for number in range(4) for topic in TOPICS]
CASES = {
    "query of 10 tokens": [QUERY],
    "32 queries of 10 to 20 tokens": SHORT,
    "1 passage of 200 tokens": [SENTENCE * 10],
    "32 passages of 200 tokens": [SENTENCE * 10] * 32,
}


class Peer:
    def __init__(self, model, tokenizer, threads):
        self.tokenizer = Tokenizer.from_file(tokenizer)
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def embed(self, texts):
        found = self.tokenizer.encode_batch(texts)
        inputs = {
            "input_ids": numpy.array([text.ids for text in found], numpy.int64),
            "attention_mask": numpy.array([text.attention_mask for text in found], numpy.int64),
        }
        return self.session.run(None, inputs)[0]


def measure(peer, texts, seconds):
    peer.embed(texts)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        peer.embed(texts)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times), min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("tokenizer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    peer = Peer(options.model, options.tokenizer, options.threads)
    for name, texts in CASES.items():
        median, least = measure(peer, texts, options.seconds)
        rate = len(texts) * 1000 / median
        print(f"onnx fp32, {options.threads} threads | {name} | median {median:.2f} ms | "
              f"min {least:.2f} ms | {rate:.1f} texts/s")


if __name__ == "__main__":
    main()
