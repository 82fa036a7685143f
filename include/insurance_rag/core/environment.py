"""All environment variables that the project reads, with their meaning and default.

`docs/environment.md` is made from this table. A test compares the table with the variables that the code reads.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EnvironmentVariable:
    """A variable that a person may set, or that a program sets for the project."""

    name: str
    meaning: str
    default: str = ""
    """What an unset or empty variable means."""
    secret: bool = False


@dataclass(frozen=True)
class VariableGroup:
    """Variables about one subject."""

    title: str
    text: str
    variables: tuple[EnvironmentVariable, ...]


def _variable(name: str, default: str, meaning: str, *, secret: bool = False) -> EnvironmentVariable:
    return EnvironmentVariable(name, meaning, default, secret)


SERVERS = VariableGroup(
    "Keys and servers",
    "Read by the command line, and by the tasks of Airflow as far as connections and settings leave something open.",
    (
        _variable("GEMINI_API_KEYS", "none", "API keys of the teacher `gemini`, separated by commas.", secret=True),
        _variable("GEMINI_BASE_URL", "Google's server", "Address of the Gemini server, without `/v1beta`."),
        _variable("GEMINI_MODEL", "`generation.model`", "Model for plans and connection tests that name none."),
        _variable("GEMINI_QUOTA_WINDOW_S", "60", "Length of the server's minute in seconds, for a fast simulator."),
        _variable("OPENAI_API_KEYS", "none", "API keys of the teacher `openai`, separated by commas.", secret=True),
        _variable("OPENAI_BASE_URL", "none", "Address of the OpenAI-compatible server of the teacher `openai`."),
        _variable("EVALUATION_API_KEY", "none", "Bearer token for the server in `evaluation.server`.", secret=True),
        _variable("JUDGE_API_KEY", "none", "Bearer token for the judge's server.", secret=True),
        _variable("EMBEDDING_API_KEY", "none", "Bearer token for the server of the embeddings.", secret=True),
        _variable("HF_TOKEN", "none", "Token for the Hugging Face Hub: models with a licence, uploads.", secret=True),
    ),
)
FORM = VariableGroup(
    "Defaults of Airflow's trigger forms",
    "Set for all components of Airflow. Scheduled runs use these values; a person may change them in the form.",
    (
        _variable("DOCUMENTS", "none", "Folders of documents, separated by commas; a new edition starts a refresh."),
        _variable("DOCUMENTS_POLL_S", "60", "Seconds between two looks into these folders."),
        _variable("CHUNKS", "the sample", "Chunk file."),
        _variable("QUESTIONS", "the sample", "File with the frozen evaluation questions."),
        _variable("GEMINI_CONNECTIONS", "`gemini_k1`", "Connections with the API keys, separated by commas."),
        _variable("BASE_MODEL", "the demo's model", "Base model: a name on the Hugging Face Hub, or a folder."),
        _variable("TRAINING_PROFILE", "`smoke`", "Training profile: `smoke`, `default` or `reference`."),
        _variable("REGISTRY", "none", "Folder or URI of the model registry; also used by `registry` and `prune`."),
        _variable("PROMOTION_POLICY", "the default policy", "YAML file with the rules of the gate."),
        _variable("REFRESH_SCHEDULE", "`0 3 * * 1`", "Cron expression of `refresh_dataset`, in the time of Seoul."),
    ),
)
AIRFLOW = VariableGroup(
    "Airflow's tasks",
    "Set for all components of Airflow.",
    (
        _variable("ALERT_CONNECTION", "alerts are only logged", "Connection with the address of a chat webhook."),
        _variable("ALLOWED_API_HOSTS", "none", "Further hosts to which a run may send API keys, separated by commas."),
        _variable("API_QUEUE", "Airflow's default queue", "Celery queue of all tasks without a GPU."),
        _variable("GPU_QUEUE", "`API_QUEUE`", "Celery queue of the tasks with a GPU."),
        _variable("GPU_BACKEND", "`local`", "Where GPU jobs run: `local` or `kubernetes`."),
        _variable("GPU_DEVICES", "all GPUs", "GPUs that local jobs share, separated by commas, such as `0,1`."),
        _variable("GPU_PYTHON", "Airflow's own", "Python interpreter of local GPU jobs."),
        _variable("AIRFLOW_PASSWORD", "asked for", "Password for `insurance_rag.orchestration.setup`.", secret=True),
    ),
)
STORES = VariableGroup(
    "Artifacts and object stores",
    "Read by the command line and by Airflow. A pod gets those without secrets from the task that starts it.",
    (
        _variable("ARTIFACT_ROOT", "`artifacts`", "Folder or URI (`s3://`, `gs://`) where runs keep their files."),
        _variable("ARTIFACT_SCRATCH", "in the temporary folder", "Folder for local copies of stored artifacts."),
        _variable("ARTIFACT_LEASE_S", "60", "Seconds after which a lease that is not renewed may be replaced."),
        _variable("ARTIFACT_RETRY_S", "60", "Seconds for which a failing request to the store is repeated."),
        _variable("AWS_ENDPOINT_URL", "Amazon's", "Address of another S3 server."),
        _variable("AWS_ENDPOINT_URL_S3", "`AWS_ENDPOINT_URL`", "The same, for S3 only; it takes precedence."),
        _variable("AWS_REGION", "`AWS_DEFAULT_REGION`", "Region of the bucket."),
        _variable("AWS_DEFAULT_REGION", "the library's", "Region of the bucket, if `AWS_REGION` is not set."),
        _variable("AWS_ACCESS_KEY_ID", "the other sources of AWS", "Access key of the bucket.", secret=True),
        _variable("AWS_SECRET_ACCESS_KEY", "the other sources of AWS", "Secret key of the bucket.", secret=True),
        _variable("AWS_PROFILE", "`default`", "Profile in the file of credentials."),
        _variable("AWS_SHARED_CREDENTIALS_FILE", "`~/.aws/credentials`", "File of credentials."),
        _variable("GOOGLE_APPLICATION_CREDENTIALS", "the other sources of Google", "File of credentials for `gs://`."),
    ),
)
PROCESSES = VariableGroup(
    "Processes and tools",
    "The first two are for people. A launcher, a task or the project itself sets the others.",
    (
        _variable("LLAMA_CPP", "the converter on `PATH`", "Folder of llama.cpp's source, for `export --format gguf`."),
        _variable(
            "OMP_NUM_THREADS", "as many as there are cores", "Threads of one process; set for each GPU's process."
        ),
        _variable("OMP_WAIT_POLICY", "`PASSIVE`", "How waiting threads behave; set before PyTorch is imported."),
        _variable(
            "PYTORCH_ALLOC_CONF",
            "`expandable_segments:True`",
            "How PyTorch allocates GPU memory in `train`; the memory estimates are made for this default.",
        ),
        _variable("PYTORCH_CUDA_ALLOC_CONF", "none", "Older name of the same setting; if set, `train` adds nothing."),
        _variable("TORCHINDUCTOR_CACHE_DIR", "in `~/.cache`", "Folder of compiled layers, which later runs reuse."),
        _variable("RESULT_JSON", "none", "File to which a command also writes its result; set by GPU tasks."),
        _variable("TENSORBOARD_LOGGING_DIR", "in the adapter's folder", "Folder of training logs; set by `train`."),
        _variable("RANK", "0", "Number of this process in a training on several GPUs; set by the launcher."),
        _variable("LOCAL_RANK", "0", "Number of this process on its machine; set by the launcher."),
        _variable("WORLD_SIZE", "1", "Number of processes of a training; set by the launcher."),
    ),
)
GROUPS = (SERVERS, FORM, AIRFLOW, STORES, PROCESSES)
"""The table. Variables that begin with `GPU_POD_` are the fields of `orchestration.pod_config.PodConfig`."""


def variables() -> dict[str, EnvironmentVariable]:
    """Return all variables of the table by name."""
    return {variable.name: variable for group in GROUPS for variable in group.variables}
