"""The peers of the benchmark `ann` on the same vectors, with one thread and with two.

    python benches/peers/ann.py FOLDER [--recall R] [--hnswlib-only]

FOLDER holds base.f32 and queries.f32 as the example `vectors` writes them. Needs numpy and hnswlib, and without
--hnswlib-only faiss-cpu and usearch; install hnswlib from its source package, so that it is compiled for this CPU. Every figure
is the median of five rounds; those of one thread are of CPU time. The last line is JSON of numpy and hnswlib: scans per second, seconds of building,
searches per second at the smallest breadth that reaches the recall given by --recall (0.98); with one thread and with two.
"""

import json
import os
import statistics
import sys
import threading
import time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import hnswlib  # noqa: E402
import numpy as np  # noqa: E402

DIMENSION, LIMIT, ROUNDS = 384, 10, 5
LINKS, EF_CONSTRUCTION = 16, 200
RECALL = float(sys.argv[sys.argv.index("--recall") + 1]) if "--recall" in sys.argv else 0.98
BREADTHS = (16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64, 80, 96, 128)


def read(name):
    return np.fromfile(os.path.join(sys.argv[1], name), np.float32).reshape(-1, DIMENSION)


def rate(search, queries, threads):
    """Queries per second over all threads, each of which asks all queries."""
    rates = []
    for _ in range(ROUNDS):
        if threads == 1:
            start = time.thread_time()
            [search(query) for query in queries]
            rates.append(len(queries) / (time.thread_time() - start))
            continue
        workers = [threading.Thread(target=lambda: [search(query) for query in queries]) for _ in range(threads)]
        start = time.perf_counter()
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
        rates.append(threads * len(queries) / (time.perf_counter() - start))
    return statistics.median(rates)


def recall(search, queries, exact):
    return np.mean([len(set(search(query)) & set(best)) / LIMIT for query, best in zip(queries, exact)])


def graph(name, build, at, queries, exact):
    start = time.thread_time()
    index = build()
    took = time.thread_time() - start
    print(f"{name} build, one thread: {took:.1f} s", flush=True)
    best = None
    for breadth in BREADTHS:
        search = at(index, breadth)
        one, two = rate(search, queries, 1), rate(search, queries, 2)
        found = recall(search, queries, exact)
        if found >= RECALL and best is None:
            best = one, two
        print(f"{name} ef {breadth}: recall@10 {found:.4f}, {one:.0f} q/s, two threads {two:.0f} q/s", flush=True)
    return took, best


def build_hnswlib(base, threads=1):
    index = hnswlib.Index("ip", DIMENSION)
    index.init_index(len(base), ef_construction=EF_CONSTRUCTION, M=LINKS)
    index.set_num_threads(threads)
    index.add_items(base)
    return index


def at_hnswlib(index, breadth):
    index.set_ef(breadth)
    return lambda query: index.knn_query(query, LIMIT)[0][0]


def build_faiss(base):
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(DIMENSION, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.add(base)
    return index


def at_faiss(index, breadth):
    index.hnsw.efSearch = breadth
    return lambda query: index.search(query[None], LIMIT)[1][0]


def build_usearch(base, dtype):
    from usearch.index import Index

    index = Index(ndim=DIMENSION, metric="cos", dtype=dtype, connectivity=LINKS, expansion_add=EF_CONSTRUCTION)
    index.add(np.arange(len(base)), base, threads=1)
    return index


def at_usearch(index, breadth):
    index.expansion_search = breadth
    return lambda query: index.search(query, LIMIT, threads=1).keys


def main():
    base, queries = read("base.f32"), read("queries.f32")
    exact = np.argsort(-(queries @ base.T), axis=1, kind="stable")[:, :LIMIT]
    few = queries[:200]
    scan = lambda query: np.argpartition(-(base @ query), LIMIT)[:LIMIT]  # noqa: E731
    scans = rate(scan, few, 1), rate(scan, few, 2)
    print(f"{len(base)} vectors; numpy scan {scans[0]:.0f} q/s, two threads {scans[1]:.0f} q/s", flush=True)
    one, search = graph("hnswlib", lambda: build_hnswlib(base), at_hnswlib, queries, exact)
    start = time.perf_counter()
    build_hnswlib(base, 2)
    report = {"scan": scans, "build": [one, time.perf_counter() - start], "search": search}
    if "--hnswlib-only" in sys.argv:
        print(json.dumps(report))
        return
    graph("faiss", lambda: build_faiss(base), at_faiss, queries, exact)
    for dtype in ("f32", "i8"):
        graph(f"usearch {dtype}", lambda: build_usearch(base, dtype), at_usearch, queries, exact)
    print(json.dumps(report))


main()
