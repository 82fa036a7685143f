# Three images:
#   airflow  Airflow and the project, without torch: all of Airflow's components, and the workers for API work
#   gpu      training and evaluation, without Airflow: GPU jobs that run as pods (GPU_BACKEND=kubernetes)
#   worker   `airflow` plus the packages of `gpu` in a separate environment: the workers that run GPU jobs as processes
#
#   docker build --target gpu -t insurance-rag-gpu .
#
# All packages are installed with verified hashes (deploy/*.txt, written by tools/image_requirements.sh). On machines
# without an NVIDIA GPU, --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu installs the CPU build of torch
# instead, which is 5 GB smaller; the hash of this one package is then not verified.
ARG PYTHON=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# ---- What all images share: the interpreter, the user and the labels.
FROM ${PYTHON} AS base
ARG VERSION=0.3.0
ARG REVISION=""
LABEL org.opencontainers.image.title="insurance-rag" \
      org.opencontainers.image.description="Keeps a document-grounded insurance assistant fresh" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# dumb-init passes signals on and reaps processes whose parents died. The user is the one of Airflow's Helm chart; files
# belong to group 0 and are writable for it, so that any other user ID works, too.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends dumb-init && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --uid 50000 --gid 0 --create-home --home-dir /home/airflow airflow && \
    chmod 770 /home/airflow
ENV HOME=/home/airflow \
    USER=airflow \
    PYTHONUNBUFFERED=1

# ---- The tools that build the environments, and the wheel of the project.
FROM base AS builder
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY deploy/build.txt deploy/
RUN pip install --no-cache-dir --require-hashes --no-deps -r deploy/build.txt

FROM builder AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY include include
RUN uv build --quiet --wheel --no-build-isolation --python /usr/local/bin/python --out-dir /wheels

# ---- The environments. A change of the code does not reinstall the packages.
FROM builder AS airflow-packages
COPY deploy/airflow.txt deploy/
RUN uv venv --quiet /opt/venv && \
    uv pip install --python /opt/venv --require-hashes --no-deps -r deploy/airflow.txt
COPY --from=wheel /wheels /wheels
RUN uv pip install --python /opt/venv --no-deps /wheels/*.whl

FROM builder AS gpu-packages
ARG TORCH_INDEX=""
COPY deploy/gpu.txt deploy/torch_packages.sh deploy/
RUN uv venv --quiet /opt/ml && sh deploy/torch_packages.sh /opt/ml "${TORCH_INDEX}"
COPY --from=wheel /wheels /wheels
RUN uv pip install --python /opt/ml --no-deps /wheels/*.whl

# ---- The images.
FROM base AS airflow
WORKDIR /opt/airflow
# The health checks of Airflow's Helm chart call /entrypoint.
COPY --chmod=755 deploy/entrypoint.sh /entrypoint
COPY deploy/health.py /usr/local/lib/insurance-rag/
COPY --from=airflow-packages /opt/venv /opt/venv
COPY plugins plugins
COPY dags dags
# The empty airflow.cfg keeps Airflow from writing one, which would fail on a read-only file system.
RUN mkdir artifacts documents logs scratch && touch airflow.cfg && chmod g+w artifacts logs scratch
ENV AIRFLOW_HOME=/opt/airflow \
    ARTIFACT_ROOT=/opt/airflow/artifacts \
    PATH=/opt/venv/bin:$PATH
USER 50000:0
ENTRYPOINT ["dumb-init", "--", "/entrypoint"]
CMD ["airflow", "version"]

FROM airflow AS worker
# triton and liger-kernel need a C compiler when a kernel is first used.
USER 0:0
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends gcc libc6-dev && \
    rm -rf /var/lib/apt/lists/*
COPY --from=gpu-packages /opt/ml /opt/ml
USER 50000:0
ENV GPU_PYTHON=/opt/ml/bin/python \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# torch contains the CUDA libraries and the host provides the driver, so no CUDA base image is needed.
FROM base AS gpu
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends gcc libc6-dev && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /opt/insurance-rag
COPY --from=gpu-packages /opt/ml /opt/ml
# The same user as in Airflow's image, because both write to the artifacts folder.
USER 50000:0
ENV PATH=/opt/ml/bin:$PATH \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENTRYPOINT ["python", "-m", "insurance_rag"]
CMD ["--help"]
