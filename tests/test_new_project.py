"""new_project.py on a copy of the files that git tracks."""

import shutil
import sys

import pytest
from entry import PROJECT, command, record, run_dirs, small

TESTS = (
    "config/test_trusted.py", "config/test_parsed_signatures.py", "test_checkpoint.py", "test_notebooks.py",
    "figures/test_committed.py",
)  # fmt: skip
"""Those of the new project that know the package by its name, or read files beside the code."""


def git(folder, *words):
    author = ("-c", "user.name=a", "-c", "user.email=a@b.cd")
    result = command("git", *author, "-C", str(folder), *words)
    assert result.returncode in (0, 1), result.stderr
    return result.stdout


def python(*words):
    return command(sys.executable, *map(str, words), PYTHONPATH="")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clone")
    for name in git(PROJECT, "ls-files", "-z").split("\0"):
        if (PROJECT / name).is_file() or (PROJECT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name, follow_symlinks=False)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "--message=template")
    return folder


@pytest.fixture(scope="module")
def project(clone, tmp_path_factory):
    """The clone as a project called my_net."""
    folder = shutil.copytree(clone, tmp_path_factory.mktemp("project") / "my_net", symlinks=True)
    result = python(folder / "new_project.py", "my_net")
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize(
    "name", ["my-net", "Net", "3d", "class", "yes", "torch", "train", "deeper"]
)
def test_a_name_that_cannot_be_is_refused(clone, name):
    result = python(clone / "new_project.py", name)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"error: {name!r} is" in result.stderr.splitlines()[-1]
    assert git(clone, "status", "--porcelain") == ""


def test_a_clone_with_changes_of_its_own_is_refused(clone):
    (clone / "mine.py").touch()
    result = python(clone / "new_project.py", "my_net")
    (clone / "mine.py").unlink()
    assert result.returncode == 2
    assert "uncommitted changes" in result.stderr
    assert result.stderr.rstrip().endswith("?? mine.py")


def test_the_template_s_name_stays_where_it_is_meant(clone, project):
    git(project, "add", "--all")
    found = git(project, "grep", "--cached", "-Ii", "--name-only", "deeper").split()
    code = [name for name in found if not name.startswith(("docs/", "notebooks/"))]
    assert {*code} <= {"CHANGELOG.md", "LICENSE"}
    assert "deeper" not in git(project, "ls-files")
    assert not (project / "results/reliability.md").exists()
    assert "deeper." not in notebooks(project)
    title = "Going deeper with convolutions"
    assert notebooks(project).count(title) == notebooks(clone).count(title)
    for words in (["check"], ["format", "--check"]):
        result = python("-m", "ruff", *words, "--no-cache", project)
        assert result.returncode == 0, result.stdout


def notebooks(folder):
    return "".join(path.read_text() for path in sorted(folder.glob("notebooks/*.ipynb")))


@pytest.mark.slow
def test_the_new_project_trains_and_passes_its_tests(project, images, tmp_path):
    result = python(project / "src/train.py", *small(images, tmp_path))
    assert result.returncode == 0, result.stderr
    (run,) = run_dirs(tmp_path)
    assert record(run)["status"] == "finished"
    load = f"import sys; sys.path.insert(0, {str(project / 'src')!r}); import my_net; my_net.load({str(run)!r})"
    assert python("-c", load).returncode == 0
    tests = [project / "tests" / name for name in TESTS]
    result = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", project / "pyproject.toml", *tests
    )
    assert result.returncode == 0, result.stdout[-3000:]
