"""Runs llama.cpp's converters, which write GGUF files. They come with llama.cpp's source, not with a Python package.

`python -m insurance_rag.training.gguf_converter FOLDER NAME ARGUMENT...` runs `convert_hf_to_gguf.py` of the llama.cpp
source in FOLDER. The converter recognizes tokenizers by a hash and fails for others, such as the demo's. NAME is the
pre-tokenizer of llama.cpp that it then uses; `-` means none.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json

MODEL_SCRIPT = "convert_hf_to_gguf.py"
LORA_SCRIPT = "convert_lora_to_gguf.py"
UNKNOWN = "-"
LAST_LINES = 3
"""Number of lines of a failed converter's output in the error message."""


def find_llama_cpp(folder: Path | None = None) -> Path:
    """Return the folder of llama.cpp's source: `folder`, $LLAMA_CPP, or where the converter is on $PATH.

    Raises an InvalidInputError that says what to install.
    """
    named = folder or (Path(os.environ["LLAMA_CPP"]) if os.environ.get("LLAMA_CPP") else None)
    on_path = shutil.which(MODEL_SCRIPT)
    found = named or (Path(on_path).resolve().parent if on_path else None)
    advice = (
        "get it with `git clone --depth 1 https://github.com/ggml-org/llama.cpp`, then give the folder with "
        "--llama-cpp or in LLAMA_CPP"
    )
    if found is None:
        raise InvalidInputError(f"GGUF export needs llama.cpp's converter, which was not found; {advice}")
    if missing := [name for name in (MODEL_SCRIPT, LORA_SCRIPT) if not (found / name).is_file()]:
        raise InvalidInputError(f"{found}: no {' and '.join(missing)}; {advice}")
    has_gguf = (found / "gguf-py").is_dir()
    packages = [name for name in ("gguf", "sentencepiece") if importlib.util.find_spec(name) is None]
    if needed := [name for name in packages if not (name == "gguf" and has_gguf)]:
        raise InvalidInputError(f"llama.cpp's converter needs more packages; run `pip install {' '.join(needed)}`")
    return found


def convert_model(llama_cpp: Path, model: Path, out: Path, outtype: str) -> None:
    """Write a Hugging Face model folder as one GGUF file. Raises InvalidInputError if llama.cpp does not support it."""
    module = [sys.executable, "-m", __name__, str(llama_cpp), pre_tokenizer(model)]
    _run([*module, str(model), "--outfile", str(out), "--outtype", outtype], model)


def convert_lora(llama_cpp: Path, adapter: Path, base_model: str, out: Path, outtype: str) -> None:
    """Write an adapter folder as one GGUF file. `base_model` is the name or folder of the base model."""
    base = ["--base", base_model] if Path(base_model).is_dir() else ["--base-model-id", base_model]
    script = [sys.executable, str(llama_cpp / LORA_SCRIPT), str(adapter)]
    _run([*script, *base, "--outfile", str(out), "--outtype", outtype], adapter)


def pre_tokenizer(model: Path) -> str:
    """Return llama.cpp's name for a byte-level pre-tokenizer that splits words as GPT-2 does, or `-` for any other.

    `smollm` does the same but makes a token of every digit.
    """
    path = model / "tokenizer.json"
    described = read_json(path).get("pre_tokenizer") if path.is_file() else None
    steps = (described or {}).get("pretokenizers", [described]) if described else []
    kinds = [step.get("type") for step in steps]
    if not kinds or kinds[-1] != "ByteLevel" or not steps[-1].get("use_regex", True):
        return UNKNOWN
    if kinds == ["ByteLevel"]:
        return "gpt-2"
    return "smollm" if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") else UNKNOWN


def _run(command: Sequence[str], source: Path) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        lines = [line for line in (finished.stderr or finished.stdout).splitlines() if line.strip()]
        raise InvalidInputError(
            f"{source}: llama.cpp's converter failed: {' | '.join(lines[-LAST_LINES:]) or 'no message'}; use a newer "
            "llama.cpp if it does not know the model"
        )


def main(folder: str, name: str, *arguments: str) -> None:
    """Run the converter of a model in this process."""
    sys.path.insert(0, folder)
    converter = importlib.import_module(MODEL_SCRIPT.removesuffix(".py"))
    has_package = Path(folder, "conversion").is_dir()
    text_model = (importlib.import_module("conversion.base") if has_package else converter).TextModel
    recognize = text_model.get_vocab_base_pre

    def recognize_or_use_name(model: object, tokenizer: object) -> object:
        try:
            return recognize(model, tokenizer)
        except NotImplementedError:
            if name == UNKNOWN:
                raise
            return name

    text_model.get_vocab_base_pre = recognize_or_use_name
    sys.argv = [MODEL_SCRIPT, *arguments]
    converter.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
