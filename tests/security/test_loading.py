"""What is read from files never runs code: no pickles, no code of a model, templates in a sandbox, no XML entities."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from insurance_rag.core.errors import InvalidInputError

ROOT = Path(__file__).parents[2]
UNSAFE_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.loads", "pickle.Unpickler",
    "marshal.loads", "shelve.open", "joblib.load", "dill.load", "cloudpickle.load", "yaml.unsafe_load",
    "yaml.full_load", "torch.hub.load", "torch.load", "subprocess.getoutput", "pandas.read_pickle",
    "zipfile.extractall", "tarfile.open",
}  # fmt: skip
#: File -> the unsafe name that it may use, and why.
EXPLAINED = {
    "include/insurance_rag/validation/retrievability.py": "pickle.load",  # of a private file that it wrote
    "include/insurance_rag/core/yaml_text.py": "yaml.load",  # with a subclass of SafeLoader
}
LOADERS = {"AutoConfig", "AutoTokenizer", "AutoModelForCausalLM"}


def product_files() -> list[Path]:
    return [path for top in ("include", "plugins", "dags") for path in sorted((ROOT / top).rglob("*.py"))]


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Return the calls in a file, each with its dotted name, such as `pickle.load`."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [(ast.unparse(node.func), node) for node in nodes if isinstance(node, ast.Call)]


def test_no_code_runs_pickles_shells_or_strings() -> None:
    found = []
    for path in product_files():
        name = path.relative_to(ROOT).as_posix()
        for called, node in calls(path):
            shell = any(k.arg == "shell" and ast.unparse(k.value) != "False" for k in node.keywords)
            unsafe = called in UNSAFE_CALLS or called in ("pickle.load", "yaml.load") or shell
            if unsafe and EXPLAINED.get(name) != called:
                found.append(f"{name}:{node.lineno}: {called}")
    assert found == []


def test_numpy_arrays_are_loaded_without_pickle() -> None:
    loads = [(path, node) for path in product_files() for called, node in calls(path) if called == "np.load"]
    assert loads
    for path, node in loads:
        assert "allow_pickle=False" in [ast.unparse(keyword) for keyword in node.keywords], path


def test_code_of_a_model_is_never_run() -> None:
    """Every loader says so itself, because transformers otherwise asks the user at the terminal."""
    loads = 0
    for path in product_files():
        for called, node in calls(path):
            name, _, method = called.rpartition(".")
            if (method == "from_pretrained" and name in LOADERS) or called in ("SentenceTransformer", "CrossEncoder"):
                loads += 1
                assert "trust_remote_code=False" in [ast.unparse(keyword) for keyword in node.keywords], path
    assert loads >= 5


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Return the folder of a tiny model with its weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


@pytest.mark.slow
def test_a_model_with_code_of_its_own_is_refused(tiny: Path, tmp_path: Path) -> None:
    from insurance_rag.models.base_model import load_model_config

    proof = tmp_path / "proof"
    (tiny / "evil.py").write_text(f"open({str(proof)!r}, 'w').close()\nclass C: pass\n")
    change_json(tiny / "config.json", model_type="unknown_type", auto_map={"AutoConfig": "evil.C"})
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        load_model_config(str(tiny))
    assert not proof.exists()


@pytest.mark.slow
def test_weights_that_are_no_safetensors_are_refused(tiny: Path) -> None:
    import torch

    from insurance_rag.models.base_model import load_base_model

    load_base_model(str(tiny), torch.float32)
    (tiny / "model.safetensors").unlink()
    torch.save({}, tiny / "pytorch_model.bin")
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        load_base_model(str(tiny), torch.float32)


def test_an_adapter_without_safetensors_is_refused(tmp_path: Path) -> None:
    from insurance_rag.evaluation.backends.local.adapter_weights import read_peft_config

    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"r": 8, "lora_alpha": 8, "target_modules": ["q_proj"]}')
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InvalidInputError):
        read_peft_config(folder)


@pytest.mark.parametrize(
    "attack",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{% for x in range(10**9) %}{{ x }}{% endfor %}",
        "{{ raise_exception.__globals__['os'] }}",
        "{{ messages.clear() }}",
    ],
)
@pytest.mark.slow
def test_chat_templates_run_in_a_sandbox(attack: str) -> None:
    from tests.fakes.chat_base import CHATML, END_OF_TURN
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    from insurance_rag.models.chat_template import read_chat_template

    vocabulary = {"[UNK]": 0, END_OF_TURN: 1, "<|im_start|>": 2}
    words = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token=END_OF_TURN)
    tokenizer.chat_template = attack + CHATML
    with pytest.raises(InvalidInputError, match="chat template rejects"):
        read_chat_template(tokenizer)


def test_aliases_in_yaml_are_refused(tmp_path: Path) -> None:
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.promotion.policy import load_policy

    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    (tmp_path / "policy.yaml").write_text(bomb)
    with pytest.raises(InvalidInputError, match="aliases"):
        load_policy(tmp_path / "policy.yaml")
    with pytest.raises(InvalidInputError, match="not valid YAML"):
        parse_settings(["a=[&x [1], *x]"])
    with pytest.raises(InvalidInputError, match="not valid YAML"):
        parse_settings(["a=!!python/object/apply:os.system [id]"])


def test_the_picture_of_an_enormous_page_stays_small(tmp_path: Path) -> None:
    from reportlab.pdfgen.canvas import Canvas

    from insurance_rag.ingest.pictures import MAX_HEIGHT, page_pictures

    path = tmp_path / "bomb.pdf"
    canvas = Canvas(str(path), pagesize=(10, 2_000_000))
    canvas.drawString(1, 1, "x")
    canvas.save()
    [pictures] = page_pictures([(path, 1)], 8.0)
    assert MAX_HEIGHT <= 10_000 and len(pictures[1]) < 1_000_000


def test_deep_and_long_json_ends_in_a_message(tmp_path: Path) -> None:
    from insurance_rag.chunks import read_chunks
    from insurance_rag.core.files import read_json

    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(InvalidInputError):
        read_json(tmp_path / "deep.json")
    (tmp_path / "long.jsonl").write_text('{"chunk_id": "' + "a" * 30_000_000)
    with pytest.raises(InvalidInputError, match="not JSON"):
        read_chunks(tmp_path / "long.jsonl")
