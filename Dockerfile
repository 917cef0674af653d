# Two images from one file: `app` runs mlp_bench, `dev` adds JupyterLab and the tests. Both install with the README's own commands.
FROM python:3.11.13-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    TF_CPP_MIN_LOG_LEVEL=3 \
    MLFLOW_TRACKING_URI=sqlite:////home/mlp/store/mlflow.db
RUN useradd --create-home --uid 1000 --shell /bin/bash mlp \
    && install -d -o mlp -g mlp /home/mlp/store /home/mlp/mlp_bench
USER 1000
WORKDIR /home/mlp/mlp_bench
COPY --chown=mlp:mlp . .

FROM base AS dev
USER root
RUN apt-get update && apt-get install -y -qq --no-install-recommends chromium && rm -rf /var/lib/apt/lists/*
USER 1000
RUN python3 -m venv .venv-dev && .venv-dev/bin/pip install -q -e '.[dev]'
ENV PATH=/home/mlp/mlp_bench/.venv-dev/bin:$PATH
CMD [".venv-dev/bin/pytest"]

FROM base AS app
RUN python3 -m venv .venv && .venv/bin/pip install -q '.[all]'
ENV PATH=/home/mlp/mlp_bench/.venv/bin:$PATH
CMD [".venv/bin/mlp_bench", "run"]
