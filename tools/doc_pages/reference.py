"""Makes docs/reference.md: registry entries and settings, from their descriptions in the code."""

from __future__ import annotations

from pydantic.fields import FieldInfo
from tools.doc_pages.markdown import GENERATED, table

from insurance_rag.core.config_base import Config
from insurance_rag.core.registry import REGISTRIES, registry


def reference_page() -> str:
    """Return the page."""
    lines = [
        "# Reference",
        "",
        GENERATED,
        "",
        "Settings are changed with `--set name=value` on the command line, in recipes and in Airflow's trigger forms.",
        "The first tables list all registry entries; [CONTRIBUTING.md](../CONTRIBUTING.md) shows how to add one.",
    ]
    for kind in REGISTRIES:
        lines += ["", f"## {kind.capitalize()}s"]
        entries = registry(kind).entries.items()
        lines += table(("name", "description"), ((f"`{name}`", _description(name, entry)) for name, entry in entries))
    for model in configurations():
        lines += ["", f"## {model.__name__}", "", " ".join((model.__doc__ or "").split())]
        settings = (_setting_row(name, field) for name, field in model.model_fields.items())
        lines += table(("setting", "default", "description"), settings)
    return "\n".join(lines) + "\n"


def _description(name: str, entry: object) -> str:
    title, description = getattr(entry, "title", "") or name, getattr(entry, "description", "")
    return f"{title}. {description}" if description else title


def _setting_row(name: str, field: FieldInfo) -> tuple[str, str, str]:
    default = field.get_default(call_default_factory=True, validated_data={}) if not field.is_required() else "required"
    shown = f"`{type(default).__name__}`" if isinstance(default, Config) else f"`{default!r}`"
    return f"`{name}`", shown if len(shown) <= 60 else "see the code", field.description or ""


def configurations() -> list[type[Config]]:
    """Return all models of settings."""
    import gemini_simulator.config as simulator
    import insurance_rag.config as product

    models = [
        value
        for module in (product, simulator)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Config) and value is not Config
    ]
    return list(dict.fromkeys(models))
