"""Makes runs and judgements by chance and lets pytrec_eval score them: `pip install pytrec_eval-terrier==0.5.11`.

Run it in its own folder; it writes qrels.trec, run.trec and expected.json. The seed is fixed, so the files come out the same.
Half of the scores of a run are rounded to few values, so that many documents tie; some differ only beyond single
precision; identifiers sort differently as text than as numbers; judgements go from -1 to 4; one query has no ranking, one
has no relevant document, one is ranked but not judged.
"""

import json
import random

import pytrec_eval

CUTOFFS = [1, 3, 5, 10, 20, 100]
# trec_eval's names, and ours.
FAMILIES = {"ndcg_cut": "ndcg", "recall": "recall", "P": "precision", "success": "hit", "map_cut": "map"}
PLAIN = {"ndcg": "ndcg", "set_recall": "recall", "set_P": "precision", "map": "map", "recip_rank": "mrr"}


def judgements(random, documents):
    count = random.choice([1, 2, 5, 30, 80])
    grades = random.choices([-1, 0, 1, 2, 3, 4], weights=[1, 4, 6, 4, 2, 1], k=count)
    return dict(zip(random.sample(documents, count), grades))


def ranking(random, documents, judged):
    count = random.choice([1, 7, 50, 130])
    pool = sorted(set(random.sample(documents, count)) | set(random.sample(sorted(judged), (len(judged) + 1) // 2)))
    style = random.choice(["ties", "close", "plain"])
    if style == "ties":
        return {document: float(random.randrange(-2, 4)) for document in pool}
    if style == "close":
        return {document: 0.5 + random.randrange(6) * 1e-9 + random.randrange(3) * 1e-6 for document in pool}
    return {document: random.uniform(-5, 5) for document in pool}


def main():
    rng = random.Random(20070806)
    documents = [f"d{n}" for n in range(200)] + [f"Doc-{n:03}" for n in range(60)] + ["ä1", "ä2", "z"]
    qrels = {f"q{n}": judgements(rng, documents) for n in range(40)}
    qrels["q38"] = {"d1": 0, "d2": -1}
    run = {query: ranking(rng, documents, judged) for query, judged in qrels.items()}
    del run["q39"]
    run["unjudged"] = {"d1": 1.0, "d2": 0.5}

    names = {f"{theirs}_{k}": f"{ours}@{k}" for theirs, ours in FAMILIES.items() for k in CUTOFFS} | PLAIN
    wanted = set(PLAIN) | {f"{theirs}.{','.join(map(str, CUTOFFS))}" for theirs in FAMILIES}
    scored = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)
    queries = {q: {ours: s[theirs] for theirs, ours in names.items()} for q, s in scored.items()}
    # As trec_eval -c does, a judged query without a ranking counts as 0; one without a relevant document does not count.
    counted = [query for query, judged in qrels.items() if max(judged.values()) > 0]
    mean = {name: sum(queries.get(q, {}).get(name, 0.0) for q in counted) / len(counted) for name in names.values()}

    with open("qrels.trec", "w") as out:
        out.writelines(f"{q} 0 {d} {grade}\n" for q, judged in qrels.items() for d, grade in judged.items())
    with open("run.trec", "w") as out:
        out.writelines(f"{q} Q0 {d} 0 {s!r} made\n" for q, ranked in run.items() for d, s in ranked.items())
    with open("expected.json", "w") as out:
        json.dump({"queries": queries, "mean": mean}, out, indent=0, sort_keys=True, ensure_ascii=False)
        out.write("\n")


main()
