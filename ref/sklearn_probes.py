"""Numbers of a second implementation for the tests of package probe.

Writes probe/testdata/sklearn.json: scikit-learn on its copy of the 1,797
handwritten digits of the UCI test part, which the module embeds too. The
first 1,200 rows train, the others test. Run from the module's root:

    python3 ref/sklearn_probes.py
"""

import json

import numpy as np
import sklearn
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

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

knn = KNeighborsClassifier(20, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / TEMPERATURE))
knn.fit(x[train], y[train])

pca = PCA(10, svd_solver="full").fit(x[train])

out = {
    "sklearn": sklearn.__version__,
    "train": TRAIN,
    "lambda": LAMBDA,
    "linear_objective": objective,
    "linear_accuracy": linear.score(xs[test], y[test]),
    "linear_first_test_row": linear.predict_proba(xs[test])[0].tolist(),
    "linear_weights_class_3": linear.coef_[3].tolist(),
    "knn_accuracy": knn.score(x[test], y[test]),
    # sklearn divides by n - 1, the module by n.
    "pca_variance": (pca.explained_variance_ * (TRAIN - 1) / TRAIN).tolist(),
    "pca_first_test_row": pca.transform(x[test])[0].tolist(),
}
with open("probe/testdata/sklearn.json", "w") as f:
    json.dump(out, f, indent=1)
    f.write("\n")
