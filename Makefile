# `make check` on each save, `make test` before a commit. Both use the Python that `python` means.
# Compiled tests are kept: without them each worker of `make check` takes seconds more to collect.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: check test faults bench

check:
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	pytest -q --ignore=tests/keras_tests -m "not (study or slow or browser)" -n auto --maxprocesses=4 --dist=worksteal

test:
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	pytest -q -n 2 --dist=loadfile

# A hundred kills of everything, with and without TensorFlow: hours.
faults:
	STEADYNET_FAULTS=100 pytest -q tests/faults

bench:
	python -m benchmarks.trial_cost
