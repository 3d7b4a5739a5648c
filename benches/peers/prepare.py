"""Makes what both sides of the hybrid benchmark read, so that they see the same passages, vectors and queries.

usage: prepare.py DATA N   (DATA holds passages.txt and, if there is one, base.f32: row-major f32 of 384 dimensions)

Writes to DATA: vectors.f32, a perturbed and normalised row of base.f32 for each of the first N passages; queries.txt,
500 times eight words out of a passage; queries.f32, that passage's vector perturbed; sources.txt, the passage's number.
Without base.f32 the rows are points of a random 32-dimensional subspace around 256 centres, and it says so.
"""

import os
import sys

import numpy as np

DIMENSION, QUERIES, BATCH = 384, 500, 10_000
rng = np.random.default_rng(7)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def perturbed(rows, deviation):
    return unit(rows + rng.standard_normal(rows.shape, dtype=np.float32) * deviation)


def base(data):
    path = os.path.join(data, "base.f32")
    if os.path.exists(path):
        return np.fromfile(path, np.float32).reshape(-1, DIMENSION)
    print("no base.f32: the vectors are generated")
    latent = rng.standard_normal((256, 32))[rng.integers(0, 256, 20_000)] + rng.normal(0, 0.6, (20_000, 32))
    return unit(latent @ rng.standard_normal((32, DIMENSION)))


def main():
    data, n = sys.argv[1], int(sys.argv[2])
    with open(os.path.join(data, "passages.txt"), encoding="utf-8") as file:
        texts = [line.rstrip("\n") for line in file][:n]
    n, real = len(texts), base(data)
    picked = rng.integers(0, n, QUERIES)
    chosen = np.empty((QUERIES, DIMENSION), np.float32)
    with open(os.path.join(data, "vectors.f32"), "wb") as file:
        for start in range(0, n, BATCH):
            size = min(BATCH, n - start)
            rows = perturbed(real[rng.integers(0, len(real), size)], 0.02)
            rows.tofile(file)
            inside = (picked >= start) & (picked < start + size)
            chosen[inside] = rows[picked[inside] - start]
    perturbed(chosen, 0.03).tofile(os.path.join(data, "queries.f32"))
    with open(os.path.join(data, "queries.txt"), "w", encoding="utf-8") as file:
        for number in picked:
            words = "".join(c if c.isalnum() else " " for c in texts[number]).split()
            start = rng.integers(0, max(1, len(words) - 8))
            file.write(" ".join(words[start : start + 8]) + "\n")
    np.savetxt(os.path.join(data, "sources.txt"), picked, fmt="%d")
    print(f"{n} vectors and {QUERIES} queries in {data}")


if __name__ == "__main__":
    main()
