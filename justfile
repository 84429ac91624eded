# What CI runs, and what a developer runs before a commit. Needs the virtual environment that README.md makes.

export PATH := justfile_directory() / ".venv/bin:" + env("PATH")
# one thread a process: two pytest workers beat one with two threads
export OMP_NUM_THREADS := env("OMP_NUM_THREADS", "1")

# everything that must be green
check: lint types layers test docs

lint:
    ruff check .
    ruff format --check .

types:
    mypy

layers:
    lint-imports

# the fast tests, in two processes
test *args:
    pytest -n 2 --dist loadfile {{ args }}

# what takes long or uses the package registries
test-slow *args:
    pytest -m slow {{ args }}

# what needs a CUDA device
test-gpu *args:
    pytest -m gpu {{ args }}

docs: cli-reference
    mkdocs build --strict --quiet --site-dir site

# docs/cli.md is written from the commands; CI fails if it is not up to date
cli-reference:
    python docs/write_cli_reference.py --check

fix:
    ruff check --fix .
    ruff format .
    python docs/write_cli_reference.py
