# syntax=docker/dockerfile:1
# Three images. Their packages are the extras in pyproject.toml, at the exact versions in requirements.lock.
#   airflow  Airflow and the project without torch, for the api-server, scheduler, dag-processor and triggerer
#   local    the airflow image plus a separate environment for GPU jobs that run as local processes
#   gpu      training and evaluation without Airflow, for GPU jobs that run as pods (GPU_BACKEND=kubernetes)
#
#   docker build --target gpu -t insurance-rag-gpu .

# The slim image contains only Airflow's core, so that no preinstalled package conflicts with requirements.lock.
FROM apache/airflow:slim-3.3.2-python3.11 AS airflow
WORKDIR /opt/airflow
COPY pyproject.toml requirements.lock ./
COPY tools/requirements.py tools/
# The dependencies have a separate layer, so that a code change does not reinstall them.
RUN python tools/requirements.py airflow cluster ingest > /tmp/requirements.txt && \
    pip install --no-cache-dir -r /tmp/requirements.txt -c requirements.lock
COPY --chown=airflow:0 README.md LICENSE ./
COPY --chown=airflow:0 include include
COPY --chown=airflow:0 plugins plugins
COPY --chown=airflow:0 dags dags
# Airflow needs the package's metadata to find the `gemini` connection type. The code is imported from include/.
RUN pip install --no-cache-dir --no-deps --editable . && mkdir -p artifacts auth logs && chmod g+w artifacts auth logs
ENV PYTHONPATH=/opt/airflow/include \
    ARTIFACT_ROOT=/opt/airflow/artifacts

FROM airflow AS local
# On machines without a GPU, --build-arg EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu saves 5 GB.
ARG EXTRA_INDEX_URL=""
# liger-kernel and triton need a C compiler when a kernel is first used.
USER root
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
USER airflow
RUN python tools/requirements.py train gpu > /tmp/requirements.txt && python -m venv ml && \
    PIP_USER=false PIP_EXTRA_INDEX_URL=${EXTRA_INDEX_URL} ml/bin/pip install --no-cache-dir \
        -r /tmp/requirements.txt -c requirements.lock
ENV GPU_PYTHON=/opt/airflow/ml/bin/python

# PyPI's torch contains the CUDA libraries and the host provides the driver, so no CUDA base image is needed.
FROM python:3.11-slim-bookworm AS gpu
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/* && \
    useradd --uid 50000 --gid 0 --create-home insurance-rag
WORKDIR /opt/insurance-rag
COPY pyproject.toml requirements.lock ./
COPY tools/requirements.py tools/
RUN python tools/requirements.py train gpu > /tmp/requirements.txt && \
    pip install --no-cache-dir -r /tmp/requirements.txt -c requirements.lock
COPY README.md LICENSE ./
COPY include include
RUN pip install --no-cache-dir --no-deps .
# Use the same user as Airflow's image, because both images write to the artifacts folder.
USER 50000:0
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1
ENTRYPOINT ["python", "-m", "insurance_rag"]
