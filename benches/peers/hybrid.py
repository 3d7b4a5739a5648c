"""What a user would pick instead of agentkit's hybrid index, measured on the same files as `benches/hybrid.rs`.

usage: hybrid.py PEER DATA N   (PEER: qdrant-edge or glued; DATA as prepare.py leaves it)

`glued` is hnswlib and Tantivy put together by hand. Prints one JSON object: build seconds, milliseconds of a hybrid
top 10 without embedding with one client and with two, the share of queries that find the passage they were made of,
and memory in megabytes. Both read the vectors through a file mapping, so that the benchmark's own data is not counted as anonymous memory.
"""

import itertools
import json
import os
import sys
import tempfile
import threading
import time

import numpy as np

DIMENSION, TOP, CANDIDATES, EF, WARM = 384, 10, 50, 64, 20


def rrf(rankings, k=60):
    """Reciprocal rank fusion."""
    scores = {}
    for ranking in rankings:
        for rank, number in enumerate(ranking, 1):
            scores[number] = scores.get(number, 0) + 1 / (k + rank)
    return sorted(scores, key=lambda number: (-scores[number], number))[:TOP]


def glued(texts, vectors, folder):
    import hnswlib
    import tantivy

    graph = hnswlib.Index("ip", DIMENSION)
    graph.init_index(len(texts), ef_construction=200, M=16)
    graph.add_items(vectors, num_threads=2)
    graph.set_ef(EF)
    graph.set_num_threads(1)
    schema = tantivy.SchemaBuilder()
    schema.add_integer_field("id", stored=True, fast=True)
    schema.add_text_field("text", tokenizer_name="en_stem", stored=True)
    index = tantivy.Index(schema.build(), folder)
    writer = index.writer(200_000_000, 2)
    for number, text in enumerate(texts):
        writer.add_document(tantivy.Document(id=number, text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def search(text, vector):
        near = graph.knn_query(vector, CANDIDATES)[0][0].tolist()
        found = searcher.search(index.parse_query(text, ["text"]), CANDIDATES).hits
        best = rrf([near, [searcher.doc(address)["id"][0] for _, address in found]])
        return [(number, texts[number]) for number in best]

    return search


def qdrant_edge(texts, vectors, folder):
    import qdrant_edge as q

    words = q.Bm25(q.Bm25Config(language="english"))
    embed = getattr(words, "embed_document", None) or words.embed
    embed_query = getattr(words, "embed_query", None) or embed
    config = q.EdgeConfig(
        vectors={"dense": q.EdgeVectorParams(DIMENSION, q.Distance.Cosine)},
        sparse_vectors={"words": q.EdgeSparseVectorParams(modifier=q.Modifier.Idf)},
        hnsw_config=q.HnswIndexConfig(16, 200, 10_000),
    )
    os.mkdir(os.path.join(folder, "shard"))
    shard = q.EdgeShard.create(os.path.join(folder, "shard"), config)
    for start in range(0, len(texts), 1000):
        points = [
            q.Point(number, {"dense": vectors[number].tolist(), "words": embed(texts[number])}, {"text": texts[number]})
            for number in range(start, min(len(texts), start + 1000))
        ]
        shard.update(q.UpdateOperation.upsert_points(points))
    shard.optimize()

    def search(text, vector):
        dense = q.Prefetch(
            CANDIDATES, query=q.Query.Nearest(vector.tolist(), "dense"), params=q.SearchParams(hnsw_ef=EF)
        )
        sparse = q.Prefetch(CANDIDATES, query=q.Query.Nearest(embed_query(text), "words"))
        request = q.QueryRequest(TOP, query=q.Fusion.Rrf(60), prefetches=[dense, sparse], with_payload=True)
        return [(int(point.id), point.payload) for point in shard.query(request)]

    return search


def memory():
    """Megabytes of anonymous memory, of file mappings, and the highest of both together."""
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file if ":" in line)
    fields = {"anonymous_mb": "RssAnon", "mapped_mb": "RssFile", "peak_mb": "VmHWM"}
    return {name: int(lines[field].split()[0]) // 1024 for name, field in fields.items()}


def measure(search, queries, clients):
    """Milliseconds of a query at three percentiles, queries per second, and what each query found."""
    for text, vector in queries[:WARM]:
        search(text, vector)
    times, found = [0.0] * len(queries), [None] * len(queries)

    def client(first):
        for number in range(first, len(queries), clients):
            start = time.perf_counter()
            found[number] = search(*queries[number])
            times[number] = (time.perf_counter() - start) * 1e3

    threads = [threading.Thread(target=client, args=(first,)) for first in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    figures = {f"p{p}_ms": round(float(np.percentile(times, p)), 3) for p in (50, 95, 99)}
    return figures | {"per_second": round(len(queries) / elapsed, 1)}, found


def lines(path, most=None):
    """The first lines of a file, read one by one: the whole of it as one string would count as memory."""
    with open(path, encoding="utf-8", newline="\n") as file:
        return [line.rstrip("\n") for line in itertools.islice(file, most)]


def main():
    peer, data, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    path = lambda name: os.path.join(data, name)
    texts = lines(path("passages.txt"), n)
    vectors = np.memmap(path("vectors.f32"), np.float32, "r").reshape(-1, DIMENSION)[: len(texts)]
    queries = list(zip(lines(path("queries.txt")), np.fromfile(path("queries.f32"), np.float32).reshape(-1, DIMENSION)))
    sources = [int(line) for line in lines(path("sources.txt"))]
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        search = {"glued": glued, "qdrant-edge": qdrant_edge}[peer](texts, vectors, folder)
        report = {"peer": peer, "passages": len(texts), "build_s": round(time.time() - start, 2)} | memory()
        report["one_client"], found = measure(search, queries, 1)
        report["two_clients"], _ = measure(search, queries, 2)
    hits = sum(source in [number for number, _ in hit] for source, hit in zip(sources, found))
    print(json.dumps(report | {"source_found": hits / len(sources)}))


if __name__ == "__main__":
    main()
