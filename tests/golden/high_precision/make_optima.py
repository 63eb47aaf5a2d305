"""REML optima and their inference to 40 digits, one feature at a time, with mpmath (1.4.1).

    python make_optima.py        (beside sim200/ and edge_cases/; needs mpmath and the standard library)

V is written out as a matrix; the criterion is the textbook's, its derivatives are traces of products of n x n
matrices, the optimum is a zero of the gradient by Newton's method from R's variance components, and
Kenward-Roger follows the published algorithm. Features: the genes of sim200 whose lmer fit differs most from
ours, and the edge designs where lmer's optimiser stops short of an optimum that is not on the boundary.
"""

import csv
from pathlib import Path

from mpmath import matrix, mp, mpf

mp.dps = 40
HERE = Path(__file__).resolve().parents[1]


def table(path):
    with open(HERE / path, newline="") as file:
        return list(csv.DictReader(file))


def inverse(a):
    """Inverse of a positive definite matrix, by Gauss-Jordan."""
    n = a.rows
    m = [[a[i, j] for j in range(n)] + [mpf(int(i == j)) for j in range(n)] for i in range(n)]
    for k in range(n):
        pivot = m[k][k]
        m[k] = [x / pivot for x in m[k]]
        for i in range(n):
            if i != k and m[i][k] != 0:
                f = m[i][k]
                m[i] = [x - f * y for x, y in zip(m[i], m[k])]
    out = matrix(n, n)
    for i in range(n):
        for j in range(n):
            out[i, j] = m[i][n + j]
    return out


def trace(a, b):
    return sum(a[i, j] * b[j, i] for i in range(a.rows) for j in range(a.cols))


def optimum(y, X, G, start):
    """Zero of the REML gradient by V = sum sigma_k G_k, Newton steps with the observed information."""
    sigma = matrix(start)
    K = len(G)
    for _ in range(60):
        V = sum((sigma[k] * G[k] for k in range(K)), matrix(len(y), len(y)))
        W = inverse(V)
        Phi = inverse(X.T * W * X)
        P = W - W * X * Phi * X.T * W
        Py = P * y
        PG = [P * g for g in G]
        gradient = matrix([sum(PG[k][i, i] for i in range(len(y))) - (Py.T * G[k] * Py)[0] for k in range(K)])
        H = matrix(K, K)
        for a in range(K):
            for b in range(K):
                H[a, b] = -trace(PG[a], PG[b]) + 2 * (Py.T * G[a] * PG[b] * Py)[0]
        step = mp.lu_solve(H, -gradient)
        sigma = sigma + step
        if max(abs(step[k] / sigma[k]) for k in range(K)) < mpf(10) ** -36:
            break
    else:
        raise SystemExit("no optimum")
    return sigma, W, Phi, PG, Py, H


def inference(y, X, G, found):
    """Rows of coefficient, estimate, SE and df of both methods."""
    sigma, W, Phi, PG, Py, H = found
    K, p = len(G), X.cols
    b = Phi * X.T * W * y
    moved = [W * X * Phi]
    rows = []
    S = [X.T * W * g * W * X for g in G]
    observed = 2 * inverse(H)
    expected = matrix(K, K)
    for i in range(K):
        for j in range(K):
            expected[i, j] = trace(PG[i], PG[j])
    covariance = 2 * inverse(expected)
    U = matrix(p, p)
    for i in range(K):
        for j in range(K):
            U += covariance[i, j] * (X.T * W * G[i] * W * G[j] * W * X - S[i] * Phi * S[j])
    adjusted = Phi + 2 * Phi * U * Phi
    for j in range(p):
        t = matrix([(Phi * S[k] * Phi)[j, j] for k in range(K)])
        v = Phi[j, j]
        satterthwaite = 2 * v**2 / (t.T * observed * t)[0]
        # For one contrast the published scale of F is 1 and its df those of the delta method.
        kr = 2 * v**2 / (t.T * covariance * t)[0]
        rows.append((j, b[j], mp.sqrt(v), satterthwaite, mp.sqrt(adjusted[j, j]), kr))
    return rows


def same(labels):
    n = len(labels)
    g = matrix(n, n)
    for i in range(n):
        for j in range(n):
            g[i, j] = mpf(int(labels[i] == labels[j]))
    return g


def sim200(gene, weighted):
    design, samples = table("sim200/design.csv"), table("sim200/samples.csv")
    X = matrix([[mpf(x) for x in list(row.values())[1:]] for row in design])
    names = [row["sample"] for row in samples]

    def row_of(name):
        found = next(r for r in table(f"sim200/{name}.csv") if next(iter(r.values())) == gene)
        return [mpf(found[s]) for s in names]

    y = matrix(row_of("voom_E"))
    G = [same([row["participant"] for row in samples]), mp.eye(len(names))]
    if weighted:
        for i, w in enumerate(row_of("voom_weights")):
            G[1][i, i] = 1 / w
    mode = "weighted" if weighted else "unweighted"
    reference = next(r for r in table("sim200/lmer_variance_components.csv") if r["gene"] == gene and r["mode"] == mode)
    s2 = mpf(reference["sigma"]) ** 2
    if weighted:
        # lmer had weights of mean 1.
        s2 *= sum(row_of("voom_weights")) / len(names)
    start = [s2 * mpf(reference["theta"]) ** 2, s2]
    if weighted:
        start[0] = mpf(reference["sigma"]) ** 2 * mpf(reference["theta"]) ** 2
    return y, X, G, start


def edge(case):
    data = [r for r in table("edge_cases/edge_data.csv") if r["case"] == case]
    y = matrix([mpf(r["y"]) for r in data])
    people = [r["participant"] for r in data]
    n = len(data)
    G = [same(people)]
    columns = [[mpf(1)] * n]
    if case.startswith("random_slope"):
        week = [mpf(r["time"]) for r in data]
        columns.append(week)
        slope, cross = matrix(n, n), matrix(n, n)
        for i in range(n):
            for j in range(n):
                slope[i, j] = G[0][i, j] * week[i] * week[j]
                cross[i, j] = G[0][i, j] * (week[i] + week[j])
        G += [cross, slope] if case.endswith("corr") else [slope]
    else:
        for time in ("ON", "EOT"):
            column = [mpf(int(r["time"] == time)) for r in data]
            if any(column):
                columns.append(column)
        if case == "lesion_nested":
            G.append(same([r["participant"] + "|" + r["lesion"] for r in data]))
    G.append(mp.eye(n))
    X = matrix(columns).T
    rows = [r for r in table("edge_cases/edge_varcomp.csv") if r["case"] == case]
    value = [(r["grp"], mpf(r["vcov"])) for r in rows]
    residual = next(v for g, v in value if g == "Residual")
    parts = [v for g, v in value if g != "Residual"]
    if case == "random_slope_corr":
        parts = [parts[0], parts[2], parts[1]]
    elif not case.startswith("random_slope"):
        parts = [dict(value)["participant"], dict(value)["lesion:participant"]]
    return y, X, G, [*parts, residual]


def main():
    out = []
    jobs = [(case, edge(case)) for case in ("lesion_nested", "random_slope_corr", "random_slope_diag")]
    jobs += [("G10662 unweighted", sim200("G10662", False)), ("G02421 weighted", sim200("G02421", True))]
    for name, (y, X, G, start) in jobs:
        found = optimum(y, X, G, start)
        sigma = ";".join(mp.nstr(s, 20) for s in found[0])
        for row in inference(y, X, G, found):
            out.append([name, row[0], *(mp.nstr(x, 20) for x in row[1:]), sigma])
        print(name, sigma, flush=True)
    with open(Path(__file__).with_name("optima.csv"), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "coefficient", "estimate", "se_satterthwaite", "df_satterthwaite", "se_kr", "df_kr", "variances"])
        writer.writerows(out)


if __name__ == "__main__":
    main()
