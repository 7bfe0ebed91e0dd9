"""Numbers of a second implementation for the tests of package probe.

Writes probe/testdata/sklearn.json: scikit-learn on its copy of the 1,797
handwritten digits of the UCI test part, which the module embeds too. The
first 1,200 rows train, the others test. Run from the module's root:

    python3 ref/sklearn_probes.py
"""

import json

import numpy as np
import sklearn
from scipy.optimize import minimize
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, average_precision_score, log_loss, normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import LinearSVC

TRAIN = 1200
LAMBDA = 1e-2
TEMPERATURE = 0.07

digits = load_digits()
x, y = digits.data / 16, digits.target
train, test = slice(0, TRAIN), slice(TRAIN, None)

scaler = StandardScaler().fit(x[train])
xs = scaler.transform(x)
# sklearn minimises C * sum of losses + |W|^2 / 2.
linear = LogisticRegression(C=1 / (LAMBDA * TRAIN), tol=1e-10, max_iter=100000).fit(xs[train], y[train])
objective = log_loss(y[train], linear.predict_proba(xs[train])) + LAMBDA / 2 * (linear.coef_**2).sum()



def squared_hinge(wb, sign, x):
    """Objective of one class against the rest, with a free intercept, and its gradient."""
    short = np.maximum(0, 1 - sign * (x @ wb[:-1] + wb[-1]))
    grad = -2 * (sign * short) @ np.c_[x, np.ones(len(x))] / len(x)
    grad[:-1] += LAMBDA * wb[:-1]
    return (short**2).mean() + LAMBDA / 2 * (wb[:-1] ** 2).sum(), grad


# LIBLINEAR minimises C * sum of losses + |w|^2 / 2, and penalises the intercept
# too, the less the larger intercept_scaling. Beside it the optimum with a free
# intercept, one class at a time.
svc = LinearSVC(C=1 / (LAMBDA * TRAIN), dual=False, intercept_scaling=30, tol=1e-8, max_iter=100000).fit(xs[train], y[train])
optima = [
    minimize(
        squared_hinge, np.zeros(xs.shape[1] + 1), (np.where(y[train] == c, 1, -1), xs[train]),
        jac=True, method="BFGS", options={"gtol": 1e-7, "maxiter": 10000},
    )
    for c in range(10)
]
svm = np.array([o.x for o in optima])
print("largest difference of weights, LIBLINEAR and BFGS:", np.abs(svc.coef_ - svm[:, :-1]).max())

knn = KNeighborsClassifier(20, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / TEMPERATURE))
knn.fit(x[train], y[train])

# Retrieval: scikit-learn's average precision of a ranking without ties is (60).
cosine = normalize(x[test]) @ normalize(x[train]).T
precision = [average_precision_score(y[train] == c, s) for s, c in zip(cosine, y[test])]
hits = np.take_along_axis(y[train] == y[test][:, None], np.argsort(-cosine, 1), 1)

# Two clusterings that agree in part.
labels = np.arange(60) % 4
clusters = np.where(np.arange(60) % 3 == 0, np.arange(60) * 7 // 10 % 5, (labels + 1) % 4)

pca = PCA(10, svd_solver="full").fit(x[train])

out = {
    "sklearn": sklearn.__version__,
    "train": TRAIN,
    "lambda": LAMBDA,
    "linear_objective": objective,
    "linear_accuracy": linear.score(xs[test], y[test]),
    "linear_first_test_row": linear.predict_proba(xs[test])[0].tolist(),
    "linear_weights_class_3": linear.coef_[3].tolist(),
    "svm_objective": sum(o.fun for o in optima),
    "svm_accuracy": ((xs[test] @ svm[:, :-1].T + svm[:, -1]).argmax(1) == y[test]).mean(),
    "liblinear_accuracy": svc.score(xs[test], y[test]),
    "svm_weights_class_3": svm[3, :-1].tolist(),
    "retrieval_map": np.mean(precision),
    "retrieval_recall": [hits[:, :k].any(1).mean() for k in (1, 5, 10)],
    "clusters": clusters.tolist(),
    "cluster_labels": labels.tolist(),
    "cluster_nmi": normalized_mutual_info_score(labels, clusters),
    "cluster_ari": adjusted_rand_score(labels, clusters),
    "knn_accuracy": knn.score(x[test], y[test]),
    # sklearn divides by n - 1, the module by n.
    "pca_variance": (pca.explained_variance_ * (TRAIN - 1) / TRAIN).tolist(),
    "pca_first_test_row": pca.transform(x[test])[0].tolist(),
}
with open("probe/testdata/sklearn.json", "w") as f:
    json.dump(out, f, indent=1)
    f.write("\n")
