"""The house rules, checked in its own source: floors, one version, forbidden things, hygiene.

The tests read the source tree beside them, not the installed package.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tilegrad.kernels import KERNELS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "tilegrad"
CPP = ROOT / "cpp"

#: The floors of the house: a file may import or include from its own floor and those below.
CPP_FLOORS = {"runtime": 0, "simd": 1, "gemm": 2, "nn": 3, "program": 4, "bindings": 5}
PYTHON_FLOORS = {"_native": 5, "kernels": 6, "config": 6, "autograd": 7, "ops": 8}
BUILT_FROM_OPS = 9  # nn, optim, linalg, calculus, ...: everything not named here
PYTHON_FLOORS |= {"bench": 10, "demo": 10, "cli": 10, "__main__": 10}

#: The package's front door may name anything.
FRONT_DOOR = "__init__"

IGNORED = {"build", "dist", ".git", ".venv", ".suites"}
PYTHON_FILES = sorted(PACKAGE.rglob("*.py"))
CPP_FILES = sorted([*CPP.rglob("*.h"), *CPP.rglob("*.cpp")])
TEXT_FILES = sorted(
    path
    for pattern in ("*.py", "*.pyi", "*.h", "*.cpp", "*.md", "*.toml", "CMakeLists.txt", ".ci/run")
    for path in ROOT.rglob(pattern)
    if not IGNORED & set(path.relative_to(ROOT).parts)
)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def python_floor(module: str) -> int:
    """The floor of ``tilegrad.<part>...`` or of a path's first part below the package."""
    return PYTHON_FLOORS.get(module, BUILT_FROM_OPS)


def names_of_the_package(tree: ast.AST) -> set[str]:
    """What ``import tilegrad`` and ``import tilegrad as tg`` call the package in a file."""
    return {
        (alias.asname or alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "tilegrad"
    }


def imported_parts(text: str) -> set[str]:
    """First parts below ``tilegrad`` of what a source names, less what only a type checker sees.

    It may be named in an import, or as an attribute of the whole package.
    """
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = [ast.Pass()]
    parts = set()
    whole = names_of_the_package(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"tilegrad.{node.attr}"] if node.value.id in whole else []
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
            if node.module == "tilegrad":
                names = [f"tilegrad.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts |= {name.split(".")[1] for name in names if name.startswith("tilegrad.")}
    return parts


def test_sources_are_found():
    assert len(PYTHON_FILES) > 40
    assert len(CPP_FILES) > 20
    assert len(TEXT_FILES) > 80


@pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)
def test_imports_point_downward(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == FRONT_DOOR:
        return
    above = {
        part
        for part in imported_parts(path.read_text(encoding="utf-8"))
        if part != FRONT_DOOR and python_floor(part) > python_floor(own)
    }
    assert not above, f"{relative(path)} (floor {python_floor(own)}) imports from above: {above}"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)
def test_imports_are_absolute(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    relative_imports = [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative_imports


@pytest.mark.parametrize("path", CPP_FILES, ids=relative)
def test_includes_point_downward(path):
    own = CPP_FLOORS[path.relative_to(CPP).parts[0]]
    for include in re.findall(r'#include "([^"]+)"', path.read_text(encoding="utf-8")):
        floor, _, name = include.partition("/")
        assert name, f"{relative(path)} includes {include} without its floor"
        assert CPP_FLOORS[floor] <= own, f"{relative(path)} includes {include} from above"


@pytest.mark.parametrize("path", [p for p in CPP_FILES if p.suffix == ".h"], ids=relative)
def test_headers_begin_with_their_contract(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("//"), f"{relative(path)} does not begin with its contract"
    if not path.name.endswith(".inl.h"):
        assert "#pragma once" in text


def test_the_engine_knows_no_operation():
    for path in sorted((PACKAGE / "autograd").rglob("*.py")):
        assert "ops" not in imported_parts(path.read_text(encoding="utf-8")), relative(path)


@pytest.mark.parametrize(
    "source",
    [
        "import tilegrad.cli",
        "from tilegrad.cli import main",
        "from tilegrad import cli",
        "import tilegrad as tg\n\ndef f():\n    return tg.cli.main",
        "def f():\n    import tilegrad\n    tilegrad.cli.main()",
    ],
)
def test_every_way_to_import_is_seen(source):
    assert imported_parts(source) == {"cli"}


def test_what_only_a_type_checker_sees_is_no_import():
    assert not imported_parts("if TYPE_CHECKING:\n    from tilegrad import cli")


# ---- the version, the build ----------------------------------------------------------------------


def test_the_version_is_stated_once():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    places = [
        relative(path)
        for path in TEXT_FILES
        if re.search(rf"(?<![\d.]){re.escape(version)}(?![\d.])", path.read_text(encoding="utf-8"))
    ]
    assert places == ["pyproject.toml"]


def test_run_time_needs_only_numpy():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [re.match(r"\w+", need)[0] for need in project["dependencies"]] == ["numpy"]


FORBIDDEN = {
    "-march=native": r"-march=native",
    "-ffast-math": r"-ffast-math|-Ofast|-funsafe-math",
    "OpenMP": r"-fopenmp|#\s*pragma\s+omp|omp\.h",
    "pickle": r"^\s*(import|from)\s+(pickle|dill|cloudpickle)|allow_pickle\s*=\s*True",
    "disabled code": r"^\s*#\s*if\s+0\b",
    "marks of unfinished work": r"\b(TODO|FIXME|XXX|HACK)\b",
    "NumPy's global random state": r"np\.random\.(?!default_rng|Generator|SeedSequence|PCG64|Philox"
    r"|BitGenerator|mtrand|MT19937)\w+",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_forbidden_things_are_absent(what):
    pattern = re.compile(FORBIDDEN[what], re.MULTILINE)
    sources = [*PYTHON_FILES, *CPP_FILES, ROOT / "CMakeLists.txt"]
    found = [relative(path) for path in sources if pattern.search(path.read_text("utf-8"))]
    assert not found


def test_environment_variables_are_the_two_documented():
    allowed = {"TILEGRAD_ISA", "TILEGRAD_NUM_THREADS"}
    read = re.compile(r"(?:getenv\(|environ\[|environ\.get\()\s*\"?(\w+)")
    for path in [*PYTHON_FILES, *CPP_FILES]:
        for name in read.findall(path.read_text(encoding="utf-8")):
            assert name in allowed | {"name"}, f"{relative(path)} reads {name}"


# ---- instruction sets ----------------------------------------------------------------------------

ISA_UNITS = sorted((CPP / "simd").glob("isa_*.cpp"))
ISA_BODIES = sorted((CPP / "simd").glob("*.inl.h"))
#: What an ISA unit may include: intrinsics, C's types, and the declarations of its tables.
ISA_HEADERS = re.compile(r"(immintrin|arm_neon|arm_sve|stdint|stddef|float|math|string)\.h|simd/.+")
VECTOR_CODE = re.compile(r"\b_mm(256|512)?_\w+|\b__m(128|256|512)[di]?\b|immintrin\.h|\b[yz]mm\d")


def test_vector_code_stays_in_its_floor():
    for path in CPP_FILES:
        if path not in ISA_UNITS:
            found = VECTOR_CODE.search(path.read_text(encoding="utf-8"))
            assert not found, f"{relative(path)} has vector code: {found[0]}"


@pytest.mark.parametrize("path", [*ISA_UNITS, *ISA_BODIES], ids=relative)
def test_isa_units_include_no_library_code(path):
    for include in re.findall(r"#include [<\"]([^>\"]+)[>\"]", path.read_text(encoding="utf-8")):
        assert ISA_HEADERS.fullmatch(include), f"{relative(path)} includes {include}"


def compile_flags(unit: Path) -> list[str]:
    """The instruction set flags that CMakeLists.txt gives a unit."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    match = re.search(rf"{unit.name}\s+PROPERTIES\s+COMPILE_OPTIONS\s+\"([^\"]*)\"", text)
    return match[1].split(";") if match else []


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("g++") and shutil.which("nm")), reason="needs g++ and nm to look inside"
)
@pytest.mark.parametrize("unit", ISA_UNITS, ids=lambda path: path.stem)
def test_isa_units_export_one_table_and_share_no_code(unit, tmp_path):
    """A unit's only global symbol is its table, and it calls nothing but the C library.

    Any other symbol that the linker may merge with one of another unit could put code of a higher
    instruction set where a lower one runs. Unoptimised code shows them all.
    """
    compiler = ["g++", "-std=c++17", "-O0", "-fPIC", "-fno-exceptions", "-DTILEGRAD_X86"]
    done = subprocess.run(
        [*compiler, f"-I{CPP}", *compile_flags(unit), "-c", str(unit), "-o", "unit.o"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized command-line option" in done.stderr:
        pytest.skip("this compiler is for another processor")
    assert done.returncode == 0, done.stderr
    listing = subprocess.run(
        ["nm", "-C", str(tmp_path / "unit.o")], capture_output=True, text=True, check=True
    ).stdout
    symbols = [line.split(maxsplit=2 if line[0] != " " else 1) for line in listing.splitlines()]
    exported = [s[-1] for s in symbols if s[-2] in "TDRBVWuvw" and s[-2] != "w"]
    needed = {s[-1] for s in symbols if s[-2] == "U"}
    assert len(exported) == 1, exported
    assert re.fullmatch(r"tilegrad::simd::k\w+Table", exported[0])
    allowed = {"_GLOBAL_OFFSET_TABLE_", "memcpy", "memset", "memmove", "__stack_chk_fail"}
    mathematics = {name for name in needed if re.fullmatch(r"[a-z]+\d*f?", name)}
    assert not needed - allowed - mathematics


# ---- kernels and hygiene -------------------------------------------------------------------------


def test_every_native_kernel_has_a_twin():
    rows = set()
    for path in sorted((CPP / "bindings").glob("*.cpp")):
        rows |= set(re.findall(r"\{\"(\w+)\",\s*native<", path.read_text(encoding="utf-8")))
    assert "matmul" in rows
    assert not rows - set(KERNELS), "native code without a NumPy twin"
    assert rows <= {name for name, kernel in KERNELS.items() if kernel.native}


def test_every_kernel_says_what_it_is():
    silent = [name for name, kernel in KERNELS.items() if not kernel.__doc__]
    assert not silent


@pytest.mark.parametrize("path", TEXT_FILES, ids=relative)
def test_files_are_clean(path):
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n"), "no newline at the end"
    assert not text.endswith("\n\n"), "blank lines at the end"
    assert "\r" not in text
    assert "\t" not in text
    trailing = [i for i, line in enumerate(text.splitlines(), 1) if line != line.rstrip()]
    assert not trailing


@pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)
def test_modules_say_what_they_are(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
