"""ONNX Runtime fp32 as the peer of `embedding.rs`: the same model, the same texts, the same figures.

usage: python embedding.py MODEL.onnx TOKENIZER.json [--threads N] [--seconds S] [--criterion FOLDER]
needs: numpy onnxruntime tokenizers (MODEL.onnx comes from export_onnx.py)

Times include tokenising, as ours do. Prints one line a figure: name, median and minimum milliseconds a call,
median milliseconds of all cores, texts per second at the median. With the folder in which `cargo bench --bench embedding` has just left its
figures, prints the ratios too: how many times faster ours are than ONNX Runtime fp32, at the median.
"""

import argparse
import json
import pathlib
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
    times, cpu, end = [], [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start, used = time.perf_counter(), time.process_time()
        peer.embed(texts)
        cpu.append((time.process_time() - used) * 1000)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times), min(times), statistics.median(cpu)


def ours(folder, threads):
    """Our medians in milliseconds by precision and case."""
    found = {}
    for path in pathlib.Path(folder).glob("**/new/benchmark.json"):
        name = json.loads(path.read_text())
        estimates = json.loads((path.parent / "estimates.json").read_text())
        for precision in "fp32", "int8":
            if name["group_id"] == f"embed {precision} on {threads} threads":
                found[precision, name["function_id"]] = estimates["median"]["point_estimate"] / 1e6
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("tokenizer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--criterion")
    options = parser.parse_args()
    known = ours(options.criterion, options.threads) if options.criterion else {}
    peer = Peer(options.model, options.tokenizer, options.threads)
    for name, texts in CASES.items():
        median, least, cpu = measure(peer, texts, options.seconds)
        rate = len(texts) * 1000 / median
        print(f"onnx fp32, {options.threads} threads | {name} | median {median:.2f} ms | "
              f"min {least:.2f} ms | CPU {cpu:.2f} ms | {rate:.1f} texts/s")
        for precision in "fp32", "int8":
            if (precision, name) in known:
                own = known[precision, name]
                print(f"  agentkit {precision}: median {own:.2f} ms, {median / own:.2f} times as fast")


if __name__ == "__main__":
    main()
