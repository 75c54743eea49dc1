"""The reference BLAS testers, run against the extension's C entry points.

They come from Debian's libblas-test: `pytest --fetch-testers` downloads it, unpacks it into a
temporary folder and installs nothing; without the option they run where the package is installed. A
small library, compiled here, gives our products BLAS's names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tilegrad import _native

pytestmark = pytest.mark.slow

PACKAGES = ("libblas-test", "libblas3", "libgfortran5", "libquadmath0")

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The extension leaves Python's symbols open: Python's library is loaded first, and nothing of it
   runs. */
static void* find(const char* name) {
  static void* library;
  if (!library) {
    if (!dlopen(PYTHON, RTLD_NOW | RTLD_GLOBAL) || !(library = dlopen(EXTENSION, RTLD_NOW))) {
      fprintf(stderr, "%s\n", dlerror());
      abort();
    }
  }
  return dlsym(library, name);
}

void xerbla_(const char* name, const int* info, int length);
void cblas_xerbla(int info, const char* name, const char* form, ...);

/* The reference cblas swaps A and B for row-major operands and tells the tester so: its error exits
   expect the swapped positions. */
extern int RowMajorStrg __attribute__((weak));
static int reported(int order, int wrong) {
  if (&RowMajorStrg) RowMajorStrg = order == 101;
  if (order != 101) return wrong;
  return wrong == 4 ? 5 : wrong == 5 ? 4 : wrong == 9 ? 11 : wrong == 11 ? 9 : wrong;
}

static int code(char c) {
  return c == 'N' || c == 'n' ? 111 : c == 'T' || c == 't' ? 112 : c == 'C' || c == 'c' ? 113 : 0;
}

#define GEMM(T, PREFIX, UPPER) \
  typedef int (*PREFIX##_type)(int, int, int, int, int, int, T, const T*, int, const T*, int, T, \
                               T*, int); \
  static long PREFIX##_calls; \
  __attribute__((destructor)) static void PREFIX##_report(void) { \
    if (PREFIX##_calls) fprintf(stderr, #PREFIX " calls %ld\n", PREFIX##_calls); \
  } \
  static int PREFIX##_call(int order, int ta, int tb, int m, int n, int k, T alpha, const T* a, \
                           int lda, const T* b, int ldb, T beta, T* c, int ldc) { \
    static PREFIX##_type function; \
    if (!function) function = (PREFIX##_type)find("tilegrad_" #PREFIX "gemm"); \
    ++PREFIX##_calls; \
    return function(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc); \
  } \
  void PREFIX##gemm_(const char* ta, const char* tb, const int* m, const int* n, const int* k, \
                     const T* alpha, const T* a, const int* lda, const T* b, \
                     const int* ldb, const T* beta, T* c, const int* ldc) { \
    int wrong = PREFIX##_call(102, code(*ta), code(*tb), *m, *n, *k, *alpha, a, *lda, b, *ldb, \
                              *beta, c, *ldc) - 1; /* Fortran has no order */ \
    if (wrong >= 0) xerbla_(UPPER "GEMM ", &wrong, 6); \
  } \
  void cblas_##PREFIX##gemm(int order, int ta, int tb, int m, int n, int k, T alpha, const T* a, \
                            int lda, const T* b, int ldb, T beta, T* c, int ldc) { \
    int wrong = PREFIX##_call(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc); \
    if (wrong) cblas_xerbla(reported(order, wrong), "cblas_" #PREFIX "gemm", ""); \
  }

GEMM(float, s, "S")
GEMM(double, d, "D")
"""


@pytest.fixture(scope="session")
def testers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the testers that may be written to."""
    folder = tmp_path_factory.mktemp("blas")
    installed = next(Path("/usr/lib").glob("*/blas/xblat3s"), None)
    if installed is not None:
        return Path(shutil.copytree(installed.parent, folder / "blas"))
    if not request.config.getoption("--fetch-testers"):
        pytest.skip("libblas-test is not installed; pytest --fetch-testers downloads it")
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.skip("the testers come as Debian packages")
    download = ["apt-get", "download", *PACKAGES]
    done = subprocess.run(download, cwd=folder, capture_output=True, check=False)
    if done.returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
        done = subprocess.run(download, cwd=folder, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("the packages could not be downloaded")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    return next(folder.glob("usr/lib/*/blas"))


@pytest.fixture(scope="session")
def shim(testers: Path) -> Path:
    """A library with BLAS's names in front of our entry points."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        pytest.skip("this Python has no shared library to load the extension with")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler")
    python = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))
    source, library = testers / "shim.c", testers / "shim.so"
    source.write_text(SHIM)
    defines = [f'-DPYTHON="{python}"', f'-DEXTENSION="{_native.__file__}"']
    command = [
        compiler,
        "-O1",
        "-shared",
        "-fPIC",
        *defines,
        "-o",
        str(library),
        str(source),
        "-ldl",
    ]
    subprocess.run(command, check=True)
    return library


def only_gemm(text: str) -> str:
    """The tester's input with everything but the general product switched off."""
    return re.sub(r"^((?!.*gemm)\w+ +)T( PUT F)", r"\1F\2", text, flags=re.M | re.I)


def larger(text: str) -> str:
    """The tester's input with sizes around the register tiles, up to the most it takes."""
    text = re.sub(r"^\d+( +NUMBER OF VALUES OF N)", r"7\1", text, flags=re.M)
    return re.sub(r"^[\d ]+?( +VALUES OF N)$", r"1 6 15 17 33 48 65\1", text, flags=re.M)


@pytest.mark.parametrize("isa", _native.available_isas())
@pytest.mark.parametrize("letter", ["s", "d"])
@pytest.mark.parametrize(
    ("program", "data", "orders"), [("x{}cblat3", "{}in3", 2), ("xblat3{}", "{}blat3.in", 1)]
)
@pytest.mark.parametrize(
    "change", [only_gemm, lambda text: larger(only_gemm(text))], ids=["stock", "larger"]
)
def test_reference_tester(testers, shim, tmp_path, isa, letter, program, data, orders, change):
    folder = str(testers)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "LD_LIBRARY_PATH": f"{folder}:{testers.parent}",
        "TILEGRAD_ISA": isa,
    }
    done = subprocess.run(
        [str(testers / program.format(letter))],
        input=change((testers / data.format(letter)).read_text()),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    output = done.stdout + "".join(path.read_text() for path in tmp_path.glob("*.out"))
    assert done.returncode == 0, output + done.stderr
    assert "FAIL" not in output, output
    passed = re.findall(
        r"gemm\s+PASSED THE [\w -]*COMPUTATIONAL TESTS \( *(\d+) CALLS", output, re.I
    )
    sizes = 6 if change is only_gemm else 7
    assert [int(count) for count in passed] == [sizes**3 * 9 * 9] * orders, output
    assert re.search(r"gemm\s+PASSED THE TESTS OF ERROR-EXITS", output, re.I), output
    calls = re.search(rf"^{letter} calls (\d+)", done.stderr, re.M)
    assert calls, "the tester did not reach our entry point"
    assert int(calls[1]) >= orders * sizes**3 * 81
