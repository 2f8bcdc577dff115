"""README and docs say what is true: their code runs, their commands are accepted.

Some things are changed before an example runs, so that it takes seconds: a budget of training
images (``total_images=...``, ``--images``) becomes 64, ``--minutes`` becomes ``--images 64``, and
scores are computed every 16 images (``--eval-every``); a benchmark has two folds and eight steps.
Examples of one page share a folder and their variables.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import shlex
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from builtin.dicom_files import AXIAL, write
from PIL import Image

from ganaug import hookspecs
from ganaug.cli import main
from ganaug.testing import checks_for

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
WITH_CODE = [
    "README.md",
    "api.md",
    "benchmark.md",
    "evaluation.md",
    "gallery.md",
    "loops.md",
    "medical.md",
    "plugins.md",
    "quickstart.md",
]

_FENCE = re.compile(
    r"^```(?:\{code-block\} )?(\S*)\n(?::caption: (\S+)\n\n)?(.*?)^```$", re.M | re.S
)


class Block(NamedTuple):
    """language: "" for none. file: what the block is to be saved as. line: where it begins."""

    language: str
    file: str
    code: str
    line: int


def blocks_of(page):
    text = page.read_text("utf-8")
    return [
        Block(m[1], m[2] or "", m[3], text.count("\n", 0, m.start(3)) + 1)
        for m in _FENCE.finditer(text)
    ]


def page_named(name):
    return next(page for page in PAGES if page.name == name)


def picture(label, seed):
    """A 16x16 picture of noise, with a spot whose place follows from the label."""
    pixels = np.random.default_rng(seed).integers(0, 90, (16, 16, 3), dtype=np.uint8)
    pixels[4 + 4 * label : 9 + 4 * label, 3:9] += 150
    return pixels


@pytest.fixture(scope="session")
def images():
    """Pictures of two classes, 24 and 8: uint8 (32, 16, 16, 3), and their labels."""
    labels = np.repeat([0, 1], [24, 8])
    return np.stack([picture(label, seed) for seed, label in enumerate(labels)]), labels


@pytest.fixture
def workplace(tmp_path, monkeypatch, images):
    """A folder with photos/, scans/labels.csv and scans.npz, which the examples speak of."""
    pixels, labels = images
    lines = ["file,label"]
    for row, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        name = ("common", "rare")[label]
        for folder, file in (("photos", f"{name}/{row}.png"), ("scans", f"{row}.png")):
            path = tmp_path / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        lines.append(f"{row}.png,{name}")
    (tmp_path / "scans" / "labels.csv").write_text("\n".join(lines))
    np.savez(tmp_path / "scans.npz", images=pixels, labels=labels)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def clinic(workplace, monkeypatch):
    """What the page on medical images speaks of, of 16 pixels a side or a little more, noise.

    ct/ has series by label and patient, mri/ volumes by label; exams.csv is a table of both;
    films/ has lesions by boxes.csv, mias.csv (from the bottom) and masks/.
    """
    monkeypatch.setenv("XDG_CONFIG_HOME", str(workplace / "home"))
    Path("group.key").write_text("0123456789abcdef0123456789abcdef")
    rng = np.random.default_rng(0)
    exams = ["path,diagnosis,patient"]
    for number in range(8):
        label = ("bleed", "clear")[number % 2]
        exams.append(f"ct/{label}/p{number},{label},p{number}")
        write_ct(Path(exams[-1].split(",")[0]), rng, PatientID=f"p{number}")
        volume = rng.integers(0, 900, (16, 18, 20), dtype=np.int16)
        write_volume(Path(f"mri/{label}/p{number}.nii.gz"), volume)
    exams.append("mri/clear/p1.nii.gz,clear,p1")
    Path("exams.csv").write_text("\n".join(exams))
    write_volume(Path("phases.nii"), rng.integers(0, 900, (16, 16, 4, 2), dtype=np.int16))
    write_films(rng)
    return workplace


def write_ct(folder, rng, **tags):
    """A series of 6 slices, 16 pixels a side, within the window of the brain."""
    tags["SeriesInstanceUID"] = f"1.2.{tags['PatientID'][1:]}"
    for k in range(6):
        pixels = rng.integers(0, 80, (16, 16), dtype=np.int16)
        place = {"ImagePositionPatient": [0, 0, 5 * k], "ImageOrientationPatient": AXIAL}
        write(folder / f"IM{k:04}", pixels, **place, **tags)


def write_volume(path, values):
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def write_films(rng):
    """Eight films of 100 x 80 pixels; a mass or a calcification on each of the first six."""
    boxes, circles = ["file,x,y,width,height,label"], ["file,x,y,radius,label"]
    for folder in ("films", "masks"):
        Path(folder).mkdir()
    for k in range(8):
        film, mask = (rng.integers(1, 256, (80, 100), dtype=np.uint8), np.zeros((80, 100), bool))
        Image.fromarray(film).save(f"films/film{k}.png")
        if k < 6:
            label = ("mass", "calcification")[k % 2]
            boxes.append(f"film{k},{20 + k},30,18,12,{label}")
            circles.append(f"film{k},{29 + k},44,9,{label}")
            mask[30:42, 20 + k : 38 + k] = True
            Image.fromarray(mask).save(f"masks/film{k}.png")
    Path("boxes.csv").write_text("\n".join(boxes))
    Path("mias.csv").write_text("\n".join(circles))


def small(text):
    text = re.sub(r"\btotal_images=[\d_]+", "total_images=64", text)
    text = re.sub(r"--eval-every \d+", "--eval-every 16", text)
    tiny = "--folds 2 --repeats 1 --steps 8"
    text = re.sub(r"--folds \d+ --repeats \d+ --steps \d+", tiny, text)
    text = re.sub(
        r"^(ganaug benchmark \S+ --out \S+)$", rf"\1 {tiny} --images 64", text, flags=re.M
    )
    return re.sub(r"--(images|minutes) [\d_]+", "--images 64", text)


def commands_of(block):
    lines = small(block.code).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("ganaug ")]


def execute(page, namespace):
    for block in blocks_of(page):
        if block.file:
            Path(block.file).write_text(block.code, "utf-8")
        elif block.language == "python":
            # Empty lines before the code make a traceback name the page's own line.
            code = compile("\n" * (block.line - 1) + small(block.code), str(page), "exec")
            exec(code, namespace)
        elif block.language == "sh":
            for words in commands_of(block):
                assert main(words) == 0, f"{page.name}: ganaug {shlex.join(words)}"


@pytest.mark.filterwarnings("ignore:Class .*:UserWarning")  # 64 images teach it little
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning with a newer torch
@pytest.mark.filterwarnings("ignore::UserWarning:torch.nn.modules.lazy")
@pytest.mark.filterwarnings("ignore::UserWarning:lightning")  # its advice on workers and logging
@pytest.mark.filterwarnings("ignore:NvImgCodec:UserWarning")  # MONAI, of a codec it can do without
@pytest.mark.parametrize("name", WITH_CODE)
def test_the_examples_of_a_page_run_from_top_to_bottom(name, clinic, monkeypatch):
    # The demonstration has tests of its own.
    monkeypatch.setattr("ganaug.cli.demo.run_demo", lambda out: 0)
    monkeypatch.setitem(sys.modules, "example", module := type(sys)("example"))
    execute(page_named(name), vars(module))
    sys.modules.pop("ganaug_tinygan", None)


def documented_records(folder, monkeypatch):
    """Records of the page on plugins, each with options of its checks; not those of other files."""
    settings = {
        "tinygan": {"settings": {"width": 8}},
        "thumbnails": {"size": 16},
        "npy": {"location": folder / "images.npy"},
    }
    np.save(
        folder / "images.npy", np.random.default_rng(0).integers(0, 256, (8, 1, 8, 8), np.uint8)
    )
    for block in blocks_of(page_named("plugins.md")):
        if block.language != "python" or "@hookimpl" not in block.code:
            continue
        module = type(sys)(block.file.removesuffix(".py") or "documented")
        monkeypatch.setitem(sys.modules, module.__name__, module)  # for pickle
        exec(block.code, vars(module))
        [hook] = [found for name, found in vars(module).items() if name.startswith("ganaug_")]
        for record in hook():
            if record.name != "mygan":  # is built from a file that the page does not show
                yield record, settings.get(record.name, {})


def test_every_documented_plugin_keeps_its_promises(tmp_path, monkeypatch):
    checked = []
    for record, options in documented_records(tmp_path, monkeypatch):
        reasons = {c.name: c.result().reason for c in checks_for(record, **options)}
        assert not any(reasons.values()), reasons
        checked.append(record.name)
    assert checked == [
        "tinygan",
        "npy",
        "brightness",
        "mean-gap",
        "thumbnails",
        "max-passes",
        "my-study",
    ]


def test_every_page_with_code_is_executed():
    found = {
        page.name
        for page in PAGES
        for block in blocks_of(page)
        if block.language == "python" or (block.language == "sh" and commands_of(block))
    }
    assert found - {"commands.md"} == set(WITH_CODE)  # whose commands are accepted, below


def test_every_fence_says_what_it_holds():
    for page in PAGES:
        for block in blocks_of(page):
            assert re.fullmatch(r"python|sh|text|toml|\{[a-z-]+\}", block.language), (
                f"{page.name}:{block.line}"
            )


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_what_the_command_line_says():
    written = (DOCS / "commands.md").read_text("utf-8")
    assert load_script("write_commands").render() == written, "run: python docs/write_commands.py"


def test_the_page_of_checks_is_what_the_kit_says():
    written = (DOCS / "checks.md").read_text("utf-8")
    assert load_script("write_checks").render() == written, "run: python docs/write_checks.py"


def test_the_examples_of_every_command_are_accepted(capsys):
    """Their files are not there: every word is read, and then the help is shown."""
    examples = [words for b in blocks_of(page_named("commands.md")) for words in commands_of(b)]
    assert len(examples) > 6
    for words in examples:
        assert main([*words, "--help"]) == 0, shlex.join(words)


def test_commands_that_are_shown_and_not_run_are_accepted(capsys):
    """Those of fences without a language of their own, and of the READMEs of plugins."""
    pages = [*PAGES, *sorted(ROOT.glob("plugins/*/README.md"))]
    shown = [
        (page, words)
        for page in pages
        for block in blocks_of(page)
        if block.language == "text" or page not in PAGES
        for words in commands_of(block._replace(code=block.code.replace("$ ganaug", "ganaug")))
    ]
    assert len(shown) > 6
    for page, words in shown:
        assert main([*words, "--help"]) == 0, f"{page}: {shlex.join(words)}"


def test_what_pages_import_of_ganaug_is_in_the_record_of_the_public_api():
    record = (Path(__file__).parent / "public_api.txt").read_text("utf-8")
    modules = dict(re.findall(r"^# (ganaug[\w.]*)\n(.*?)(?=^# |\Z)", record, re.M | re.S))
    notebook = (DOCS / "balance.ipynb").read_text("utf-8")
    code = [b.code for page in PAGES for b in blocks_of(page) if b.language == "python"]
    code += ["".join(cell["source"]) for cell in json.loads(notebook)["cells"]]
    imported = re.findall(r"^from (ganaug(?:\.\w+)*) import (.+)$", "\n".join(code), re.M)
    assert len(imported) > 15
    for module, names in imported:
        for name in names.split(", "):
            known = re.search(rf"^(class )?{name}\b", modules.get(module, ""), re.M)
            assert known, f"{module}.{name} is shown to users: describe it in docs/api.md"


def test_every_hook_has_a_heading_its_signature_and_its_example():
    page = page_named("plugins.md").read_text("utf-8")
    shown = [
        ast.dump(ast.parse(b.code))
        for b in blocks_of(page_named("plugins.md"))
        if b.language == "python"
    ]
    hooks = [name for name in vars(hookspecs.Hooks) if name.startswith("ganaug_")]
    assert re.findall(r"^### `(ganaug_\w+)`$", page, re.M) == hooks
    for name in hooks:
        hook = getattr(hookspecs.Hooks, name)
        assert f"`{name}{str(inspect.signature(hook)).replace(chr(39), '')}`" in page
        example = textwrap.dedent(inspect.getdoc(hook).split("::\n", 1)[1]).strip()
        assert ast.dump(ast.parse(example)) in shown, "formatted perhaps, but the same code"


def test_the_generator_of_the_plugin_page_is_tinygan_and_short():
    [block] = [b for b in blocks_of(page_named("plugins.md")) if b.file]
    assert len(block.code.strip().splitlines()) < 60
    kept = ROOT / "plugins" / "ganaug-tinygan" / "src" / "ganaug_tinygan" / "__init__.py"
    if kept.parent.is_dir():  # plugins/ is not part of the sdist
        assert block.code == kept.read_text("utf-8")


def test_the_architecture_page_draws_the_layers_that_are_checked():
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    contract = next(c for c in layers["contracts"] if c["type"] == "layers")
    drawn = next(
        b.code for b in blocks_of(page_named("architecture.md")) if b.code.startswith("errors\n")
    )
    found = [set(re.split(r"  +", line)[0].split(", ")) for line in drawn.splitlines()]
    assert found[::-1] == [set(layer.split(" : ")) for layer in contract["layers"]]


def test_the_architecture_page_names_every_module():
    text = page_named("architecture.md").read_text("utf-8")
    package = ROOT / "src" / "ganaug"
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    modules |= {path.name for path in package.iterdir() if (path / "__init__.py").exists()}
    assert sorted(name for name in modules if not re.search(rf"\b{name}\b", text)) == []


def test_every_public_name_is_in_the_api_page():
    import ganaug

    page = page_named("api.md").read_text("utf-8")
    documented = re.findall(r"^\.\. auto\w+:: ganaug\.(\w+)$", page, re.M)
    assert sorted(documented) == sorted([*ganaug.__all__, "errors"])


def test_the_readme_runs_the_tests_as_the_checks_do():
    [readme] = [
        block.code.split("\n")
        for block in blocks_of(page_named("README.md"))
        if "pytest" in block.code
    ]
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    function = re.search(r"^readme\(\) \{\n(.*?)^\}", script, re.M | re.S)[1]
    lines = [line.strip().removesuffix(" &&") for line in function.splitlines()]
    quiet = [re.sub(r" (--quiet|-p no:cacheprovider)\b", "", line) for line in lines]
    assert readme == [*quiet, ""]


def messages_of(path):
    """Yield every text of a module, with NUL for what varies, and the error it is given to."""
    tree = ast.parse(path.read_text("utf-8"))
    error_of = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).endswith("Error"):
            error_of[node.args[0]] = ast.unparse(node.func)
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
            yield "".join(parts), error_of.get(node)
        elif isinstance(node, ast.Constant) and node not in docstrings:
            yield str(node.value), error_of.get(node)


def quoted_messages():
    """What the page of questions quotes in its headings, and the text below each."""
    text = page_named("faq.md").read_text("utf-8")
    return re.findall(r"^### `(.+?)`\n\n(.+?)(?=^#)", text, re.M | re.S)


def test_every_message_that_is_explained_is_still_said():
    sources = (ROOT / "src" / "ganaug").rglob("*.py")
    said = [message for path in sources for message in messages_of(path)]
    assert len(quoted_messages()) > 15
    for quoted, answer in quoted_messages():
        fragments = quoted.split("...")
        assert sum(map(len, fragments)) > 8, f"too little to look for: {quoted}"
        pattern = re.compile(".*".join(map(re.escape, fragments)), re.S)
        found = {error for text, error in said if pattern.search(text)}
        assert found, f"nothing says: {quoted}"
        if errors := found - {None}:  # others are warnings, or put together elsewhere
            [named] = re.findall(r"^\*(\w+Error)\b", answer)
            assert named in errors, quoted


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_picture_is_small():
    pictures = list((DOCS / "images").iterdir())
    assert pictures
    assert all(path.stat().st_size < 60_000 for path in pictures)
