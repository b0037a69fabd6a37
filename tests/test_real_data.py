"""Los datos reales: de dónde vienen, qué pasa si no se consiguen, y cómo los leen los programas."""

import os
import re
import subprocess
import sys
from importlib import import_module

import pytest

from autograder.conventions import ROOT
from autograder.notebooks import load

FOLDER = ROOT / "real_data"
needs_data = pytest.mark.skipif("ATENCION_DATOS" not in os.environ, reason="sin ATENCION_DATOS")


@pytest.fixture
def script(monkeypatch):
    """`script(nombre)`: un módulo de real_data/, importado como al ejecutarlo."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module


def test_every_source_is_a_pinned_commit_with_its_digest(script):
    data = script("data")
    single = [data.XQUAD_ES, data.SQUAD_ES, data.SPA_ENG, data.QUIJOTE]
    sources = [*single, *data.BABI.values(), *data.SQUAD_ES_DIST.values()]
    assert set(data.BABI) == {(task, split) for task in (1, 2, 3) for split in ("train", "test")}
    for name, url, digest in sources:
        assert re.fullmatch(r"https://[\w.]+/[\w.-]+/[\w.-]+/[0-9a-f]{40}/\S+", url)
        assert url.endswith(name.split("/")[-1])
        assert re.fullmatch(r"[0-9a-f]{64}", digest)


@pytest.mark.parametrize("content", [None, "roto"])
def test_missing_or_wrong_data_is_one_line(tmp_path, content):
    """Sin red y sin el archivo, o con otro en su lugar: una línea, y lo que había sigue ahí."""
    file = tmp_path / "xquad.es.json"
    if content:
        file.write_text(content)
    nowhere = {"https_proxy": "http://127.0.0.1:9", "ATENCION_DATOS": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", "from data import XQUAD_ES, fetch; fetch(XQUAD_ES)"],
        cwd=FOLDER,
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
    )
    assert ran.returncode != 0
    assert "Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("No está xquad.es.json")
    assert not content or file.read_text() == content


@needs_data
def test_squad_es_without_the_paragraphs_of_xquad(script):
    training, test = script("bidaf_xquad").read_data(load("09_bidaf"))
    assert (len(training), len(test)) == (5851, 1190)


@needs_data
def test_babi_tasks(script):
    train, validation, test, _ = script("memn2n_babi").read_data("cpu")
    for task in (1, 2, 3):
        assert [len(part[task][2]) for part in (train, validation, test)] == [900, 100, 1000]
        sentences, questions, _ = test[task]
        assert (sentences[:, -1] > 0).any(1).all()  # la última frase está al final
        assert (questions > 0).any(1).all()


@needs_data
def test_translation_pairs_share_no_english_sentence(script):
    train, test = script("seq2seq_spa_eng").read_pairs(seed=0)
    assert len(test) == 1000
    known = {" ".join(source) for source, _ in train}
    assert not known & {" ".join(source) for source, _ in test}
