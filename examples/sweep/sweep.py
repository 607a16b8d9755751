# %% [markdown]
# # A parameter sweep
#
# Which classifier reads handwritten digits best? 1797 of them come with scikit-learn. Every combination of parameters is
# tried on the workers: first by scikit-learn's own grid search, then by a loop of ours.

# %%
import os
from typing import Any

import joblib
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, cross_val_score
from sklearn.svm import SVC

import taskyard.joblib  # noqa: F401 - makes the backend "taskyard" known to joblib
from taskyard import Cluster, LocalCluster

# %% [markdown]
# TASKYARD_URL names a cluster that is there already. Without it, one of two workers starts here.

# %%
cluster = Cluster() if "TASKYARD_URL" in os.environ else LocalCluster(workers=2)
digits = load_digits()
print(f"{len(digits.data)} digits, {sum(worker.slots for worker in cluster.workers())} slots")

# %% [markdown]
# A grid search as in any scikit-learn program. The `with` line alone brings its fits to the workers; the scores are
# exactly those that it gives without.

# %%
grid = {"C": [1, 10], "gamma": [0.0005, 0.001, 0.002]}
search = GridSearchCV(SVC(), grid, cv=3)
with joblib.parallel_config(backend="taskyard", cluster=cluster):
    search.fit(digits.data, digits.target)
print(f"support vectors: {search.best_score_:.4f} with {search.best_params_}")

# %% [markdown]
# The same idea without joblib: a function, and `cluster.map` over all combinations. The function goes to the workers by
# value. It loads the digits where it runs, so that they need not travel with each call.


# %%
def score(parameters: dict[str, Any]) -> float:
    """Mean accuracy in three folds."""
    data = load_digits()
    forest = RandomForestClassifier(random_state=0, **parameters)
    return float(cross_val_score(forest, data.data, data.target, cv=3).mean())


combinations = list(ParameterGrid({"n_estimators": [10, 30], "max_depth": [5, None]}))
scores = dict(enumerate(cluster.map(score, combinations)))
best = max(scores, key=scores.__getitem__)
print(f"random forest: {scores[best]:.4f} with {combinations[best]}")

# %% [markdown]
# The workers end with the cluster that was started here; one that was there already goes on.

# %%
cluster.shutdown()
