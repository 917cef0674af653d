# Two images from one file: `app` runs mlp_bench, `dev` adds JupyterLab and the tests. Both install with the README's own commands.
FROM python:3.12.12-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    TF_CPP_MIN_LOG_LEVEL=3 \
    MLFLOW_TRACKING_URI=sqlite:////home/mlp/store/mlflow.db
RUN useradd --create-home --uid 1000 --shell /bin/bash mlp \
    && install -d -o mlp -g mlp /home/mlp/store /home/mlp/mlp_bench
USER 1000
WORKDIR /home/mlp/mlp_bench

FROM base AS dev
USER 0
# Debian keeps one version of a package only, so a pinned one would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y -qq --no-install-recommends chromium && rm -rf /var/lib/apt/lists/*
USER 1000
COPY --chown=1000:1000 . .
RUN python3 -m venv .venv-dev && .venv-dev/bin/pip install -q -e '.[dev]'
ENV PATH=/home/mlp/mlp_bench/.venv-dev/bin:$PATH
CMD [".venv-dev/bin/pytest"]

FROM base AS build
COPY --chown=1000:1000 . .
RUN python3 -m venv .venv && .venv/bin/pip install -q '.[all]'
# TensorFlow's C++ headers: 430 MB that only those need who compile against it.
RUN rm -rf .venv/lib/python3*/site-packages/tensorflow/include

FROM base AS app
COPY --from=build --chown=1000:1000 /home/mlp/mlp_bench/.venv .venv
ENV PATH=/home/mlp/mlp_bench/.venv/bin:$PATH
CMD [".venv/bin/mlp_bench", "run"]
