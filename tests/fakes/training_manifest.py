"""A complete training manifest for tests that do not train."""

from __future__ import annotations

from insurance_rag.core.records import MemoryPlan, TrainingDataset, TrainingManifest

PLAN = MemoryPlan(
    per_device_train_batch_size=8,
    gradient_accumulation_steps=1,
    gradient_checkpointing=False,
    double_quantization=True,
    optim="adamw_torch_fused",
    compute_dtype="fp32",
    adapter_dtype="fp32",
    use_liger_kernel=False,
    estimate_gib=1.0,
    preset="80GB",
)
DATASET = TrainingDataset(uri="/run/dataset/train_dataset_rag.json", sha256="0" * 64, rows=456)
MANIFEST = TrainingManifest(
    version="v2",
    recipe="v2",
    seed=42,
    prompt_format="rag",
    base_model="base_model",
    base_revision=None,
    quantization="nf4",
    dataset=DATASET,
    heldout_rows=40,
    contexts_truncated=0,
    rows_skipped=[],
    steps=200,
    epochs=2.1,
    loss=1.13,
    eval_loss=1.34,
    tokens_per_s=5123,
    peak_gib=1.2,
    estimate_gib=1.0,
    micro_batch_pieces=1,
    seconds=64.2,
    device="cpu",
    plan=PLAN,
    settings={},
    fingerprint="0123456789abcdef",
    recipe_fingerprint="fedcba9876543210",
)


def training_manifest(**changes: object) -> TrainingManifest:
    """Return `MANIFEST` with some fields replaced; nested records may be given as dictionaries of their changes.

    >>> training_manifest(plan={"double_quantization": False}).plan.double_quantization
    False
    """
    values = MANIFEST.model_dump()
    for name, change in changes.items():
        values[name] = {**values[name], **change} if isinstance(change, dict) else change
    return TrainingManifest.model_validate(values)
